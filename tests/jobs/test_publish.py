"""`publish` as a process of its own: killed at any point and repeated, a table has every row once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.tables import KINDS, catalogue_settings, finished_run, read_table, target_in

_ROWS, _POINTS = 20_000, 20


def _process(run: str, to: str, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vqa_ray", "publish", run, "--to", to]
    return subprocess.Popen(command, env={**os.environ, **settings})


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_point(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyiceberg")
    settings = catalogue_settings(tmp_path)
    to = target_in(kind, tmp_path)
    rows = [{"row_id": number, "answer": str(number)} for number in range(_ROWS)]
    began = time.monotonic()
    assert _process(finished_run(tmp_path / "first", rows, run_id="first"), to, settings).wait() == 0
    length = time.monotonic() - began
    killed = 0
    for point in range(_POINTS):
        changed = [{**row, "answer": f"{row['answer']} {point}"} for row in rows]
        run = finished_run(tmp_path / f"run-{point}", changed, run_id="first", state=point + 2)
        process = _process(run, to, settings)
        time.sleep(length * (0.2 + 0.6 * point / _POINTS))
        process.kill()
        killed += process.wait() != 0
        assert _process(run, to, settings).wait() == 0
        if point % 5 == 4:
            found = {row["row_id"]: row["answer"] for row in _rows(kind, tmp_path, settings, monkeypatch)}
            assert found == {row["row_id"]: row["answer"] for row in changed}
    assert killed >= _POINTS / 4


def _rows(
    kind: str, directory: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, object]]:
    from pyiceberg.utils.config import Config

    with monkeypatch.context() as patched:
        for name, value in settings.items():
            patched.setenv(name, value)
        patched.setattr("pyiceberg.catalog._ENV_CONFIG", Config())
        rows = read_table(kind, directory)
    assert len({row["row_id"] for row in rows}) == len(rows) == _ROWS
    return rows

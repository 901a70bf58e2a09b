"""The lock of an output, as signals know it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.errors import OutputTakenOverError, RequestError
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.signals import STOP


def test_signals_know_the_lock_while_it_is_held(tmp_path: Path) -> None:
    with output_lock(str(tmp_path / "out"), "2026-11-28T12:00:00Z") as lock:
        assert STOP.lock is lock
        assert not STOP.has_lost_output
        lock._lost = True
        assert STOP.has_lost_output
        lock._lost = False
    assert STOP.lock is None


def test_a_writer_that_was_taken_over_ends_with_an_error_of_its_own(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    with output_lock(output, "2026-11-28T12:00:00Z") as lock:
        claims = tmp_path / "out" / "_vqa_ray" / "writers"
        (claims / "000009.json").write_text((next(claims.iterdir())).read_text())
        with pytest.raises(OutputTakenOverError, match="another one has taken over"):
            lock.check()


def test_a_name_that_writers_would_not_find_is_refused(tmp_path: Path) -> None:
    reason = r"/x\\ny': wanted a name without control characters"
    with pytest.raises(RequestError, match=reason), output_lock(str(tmp_path / "x\ny"), "2026-11-28T12:00:00Z"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_memory_of_a_process_is_no_output() -> None:
    with (
        pytest.raises(RequestError, match="memory://x/y: lies in the memory of one process"),
        output_lock("memory://x/y", "2026-11-28T12:00:00Z"),
    ):
        pass

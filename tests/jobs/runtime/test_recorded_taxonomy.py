"""The taxonomy of a run, read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.recorded_taxonomy import recorded_taxonomy
from vqa_ray.runs.record import RunRecord
from vqa_ray.taxonomy.file import load_taxonomy

TAGS = "attributes: [{name: colour, question: which colour is it, choices: [red, blue]}]\n"


def record(tags: str, fingerprint: str) -> RunRecord:
    return RunRecord("r", "tag", "", {"tags": tags, "tags_fingerprint": fingerprint}, {}, {}, {})


def test_a_relative_path_leads_somewhere_else_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tags.yaml").write_text(TAGS)
    monkeypatch.chdir(tmp_path)
    fingerprint = load_taxonomy("tags.yaml").fingerprint
    assert recorded_taxonomy(record("tags.yaml", fingerprint), "--run").fingerprint == fingerprint
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(
        RequestError, match=r"^--run: the run names its taxonomy by a relative path.*: tags\.yaml: the "
    ):
        recorded_taxonomy(record("tags.yaml", fingerprint), "--run")
    with pytest.raises(RequestError, match=r"^/missing/tags\.yaml: the taxonomy cannot be read"):
        recorded_taxonomy(record("/missing/tags.yaml", fingerprint), "--run")

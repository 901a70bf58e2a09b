"""Results of a run from Python. Of whole runs: tests/jobs/test_api.py."""

from __future__ import annotations

from pathlib import Path

import pytest

import vqa_ray
from tests.helpers.tag_runs import write_tag_run
from vqa_ray import RequestError

ROW = {"row_id": 7, "image_id": "a", "category": "mug", "tags": ["category:mug"]}


def test_rows_of_a_run_that_has_not_finished(tmp_path: Path) -> None:
    run = vqa_ray.read_run(write_tag_run(tmp_path / "tags", [ROW, ROW], finished=False))
    assert run.manifest is None
    assert run.record.job == "tag"
    assert repr(run).endswith("job='tag', unfinished)")
    assert run.table.num_rows == 2
    assert run.table is run.table
    assert run.to_pandas(["category"])["category"].tolist() == ["mug", "mug"]


def test_columns_and_rows_that_are_not_there_are_refused(tmp_path: Path) -> None:
    run = vqa_ray.read_run(write_tag_run(tmp_path / "tags", [ROW]))
    with pytest.raises(RequestError, match="no column 'color'"):
        run.read(["color"])
    empty = vqa_ray.read_run(write_tag_run(tmp_path / "none", [], finished=False))
    with pytest.raises(RequestError, match="the run of tag has no rows yet"):
        empty.read()
    next((tmp_path / "tags").glob("part-*")).write_bytes(b"x")
    with pytest.raises(RequestError, match="is damaged"):
        run.read()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no run is there"):
        vqa_ray.read_run(str(tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match="file: is a file; expected the output directory of a run"):
        vqa_ray.read_run(str(tmp_path / "file"))

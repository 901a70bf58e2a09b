"""Nothing is written where the readers of a run or an index would take it for theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.storage.atomic import write_bytes_atomic


@pytest.mark.parametrize("name", ["hits.parquet", "deeper/rows.csv", "answers"])
def test_a_path_below_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "run" / "_vqa_ray").mkdir(parents=True)
    (tmp_path / "run" / "_vqa_ray" / "run.json").write_text("{}")
    with pytest.raises(RequestError, match=rf"--output .*{name}: lies in .*/run, which holds a run or an index"):
        refuse_inside_output("--output", str(tmp_path / "run" / name))


def test_beside_a_run_and_the_run_itself_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "run" / "_vqa_ray").mkdir(parents=True)
    refuse_inside_output("--output", str(tmp_path / "run"))
    refuse_inside_output("--output", str(tmp_path / "hits.parquet"))
    refuse_inside_output("--output", "relative.csv")


def test_a_path_below_a_run_in_a_bucket_is_refused(s3_session: str) -> None:
    write_bytes_atomic(f"{s3_session}/enclosing/run/_vqa_ray/run.json", b"{}")
    with pytest.raises(RequestError, match="which holds a run or an index"):
        refuse_inside_output("--gallery", f"{s3_session}/enclosing/run/page.html")
    refuse_inside_output("--gallery", f"{s3_session}/enclosing/page.html")


def test_a_path_below_an_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index" / "_vqa_ray" / "versions").mkdir(parents=True)
    with pytest.raises(RequestError, match="which holds a run or an index"):
        refuse_inside_output("--output", str(tmp_path / "index" / "hits.parquet"))


def test_a_demo_has_no_record_whatever_else_lies_there(tmp_path: Path) -> None:
    for name in ("writers", "notes"):
        (tmp_path / "demo" / "_vqa_ray" / name).mkdir(parents=True)
    refuse_inside_output("--output", str(tmp_path / "demo" / "tags"))

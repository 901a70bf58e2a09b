"""Kept columns through whole runs: every type, every name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import picture
from tests.helpers.kept_columns import KEPT_COLUMNS
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.index.reader import open_index

pytestmark = pytest.mark.usefixtures("local_ray")


def test_every_type_and_renamed_columns_are_written(tmp_path: Path) -> None:
    columns = {f"k{number}": column for number, (column, _) in enumerate(KEPT_COLUMNS.values())}
    images = [picture(1), b"no image"]
    more = {"answer": ["yes", "no"], "width": [640, None], "pixels": ["a", "b"], "split": ["x", "y"]}
    table = pa.table({"image": images, "question": ["what colour is it?"] * 2, **more, **columns})
    pq.write_table(table, tmp_path / "in.parquet")
    keep = ["truth=answer", "width", "pixels", "split", "second=question", *columns]
    options = [part for name in keep for part in ("--keep", name)]
    code = run_here("answer", tmp_path / "in.parquet", tmp_path / "out", "--max-error-fraction", "1", *options)
    assert code == 0
    written = rows(tmp_path / "out")
    assert manifest(tmp_path / "out")["findings"] == []
    assert written["status"].to_pylist() == ["ok", "error"]
    assert written["truth"].to_pylist() == ["yes", "no"]
    assert written["second"].to_pylist() == written["question"].to_pylist()
    for name in ("width", "pixels", "split"):
        assert written[name].to_pylist() == more[name]
    given = pq.read_table(tmp_path / "in.parquet")
    for name in columns:
        column = given[name].combine_chunks()
        if "uuid" not in str(column.type):
            assert written[name].to_pylist() == column.to_pylist(), column.type


def test_taken_names_are_refused_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"image": [picture(1)], "answer": ["yes"], "status": ["success"], "height": [3], "tags": ["t"]}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")

    def told(job: str, *more: str) -> str:
        assert run_here(job, tmp_path / "in.parquet", tmp_path / "out", *more) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    ask = ("--question", "q?")
    answer = told("answer", *ask, "--keep", "answer")
    assert "--keep answer: the output has a column 'answer' of its own" in answer
    assert "keep yours under another name: --keep truth=answer" in answer
    assert "--keep input_status=status" in told("caption", "--keep", "status")
    assert "--keep input_height=height" in told("index", "--keep", "height")
    assert "--keep input_tags=tags" in told("tag", "--keep", "tags")
    assert "the output has a column 'answer' of its own" in told("answer", *ask, "--keep", "answer=height")
    assert "2 columns would be called 'a'" in told("caption", "--keep", "a=tags", "--keep", "a=height")


def test_an_index_keeps_under_another_name(tmp_path: Path) -> None:
    columns = {"image": [picture(number) for number in range(3)], "height": [3, 4, 5]}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    for _ in range(2):
        assert run_here("index", tmp_path / "in.parquet", tmp_path / "out", "--keep", "tall=height") == 0
    index = open_index(str(tmp_path / "out"))
    assert sorted(index.rows(["tall"])["tall"].to_pylist()) == [3, 4, 5]

"""Results of a run from Python. Of whole runs: tests/jobs/test_api.py."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vqa_ray
from tests.helpers.tag_runs import write_tag_run
from tests.helpers.written_runs import write_run
from vqa_ray import RequestError
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.publication import Publication
from vqa_ray.storage.atomic import write_table_atomic

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


def test_rows_are_those_of_one_state_while_an_update_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = write_run(tmp_path / "run", [{"answer": "old"}] * 4, files=2)
    directory = RunDirectory(uri)
    pairs = []
    for entry in directory.part_files():
        table = pq.read_table(entry.uri)
        column = table.schema.get_field_index("answer")
        name = entry.uri.rpartition("/")[2]
        prepared = f"_vqa_ray/attempt-2/_prepared/{name.replace('.parquet', '.pq')}"
        new = table.set_column(column, table.schema.field(column), pa.array(["new"] * table.num_rows))
        write_table_atomic(f"{uri}/{prepared}", new)
        pairs.append((name, prepared))
    update = Publication("_vqa_ray/attempt-2", tuple(pairs))
    reads = []

    def read(name: str, columns: object = None) -> pa.Table:
        if not reads:
            update.commit(directory.publication)
        if len(reads) == 1:
            update.apply(uri)
        reads.append(name)
        return read_columns(name, columns)

    monkeypatch.setattr("vqa_ray.api.run.read_columns", read)
    assert vqa_ray.read_run(uri).read(["answer"])["answer"].to_pylist() == ["new"] * 4
    assert len(reads) == 4, "all is read again"


def test_rows_of_two_states_are_never_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = write_run(tmp_path / "run", [{"answer": "old"}] * 4)
    directory, numbers = RunDirectory(uri), itertools.count()

    def read(name: str, columns: object = None) -> pa.Table:
        Publication(f"_vqa_ray/attempt-{next(numbers)}", ()).commit(directory.publication)
        return read_columns(name, columns)

    run = vqa_ray.read_run(uri)
    monkeypatch.setattr("vqa_ray.api.run.read_columns", read)
    with pytest.raises(RequestError, match="each of 5 readings met an update"):
        run.read()

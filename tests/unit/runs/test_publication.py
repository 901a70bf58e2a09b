"""From its journal on, an update holds; readers that come late find its files in their places."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from vqa_ray.errors import RequestError
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns, row_count
from vqa_ray.runs.publication import Publication
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic

ATTEMPT = "_vqa_ray/attempt-2"


def table(*values: int) -> pa.Table:
    return pa.table({"value": values})


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[RunDirectory, Publication]:
    directory = RunDirectory(str(tmp_path))
    for name, value in (("a", 1), ("b", 2)):
        write_table_atomic(f"{tmp_path}/part-{name}.parquet", table(value))
    for name, value in (("b", 20), ("c", 3)):
        write_table_atomic(f"{directory.later(2).prepared}/part-{name}.pq", table(value))
    write_table_atomic(f"{directory.later(2).prepared}/commit-b.pq", table(21))
    write_bytes_atomic(f"{directory.later(2).prepared}/README.md", b"after")
    targets = {"part-b.pq": "part-b.parquet", "part-c.pq": "part-c.parquet", "README.md": "README.md"}
    targets["commit-b.pq"] = "_vqa_ray/checkpoint/b.pq"
    pairs = tuple((target, f"{ATTEMPT}/_prepared/{name}") for name, target in targets.items())
    return directory, Publication(ATTEMPT, pairs)


def values(directory: RunDirectory) -> list[int]:
    return [read_columns(entry.uri)["value"][0].as_py() for entry in directory.part_files()]


def test_readers_see_the_state_before_or_after(prepared: tuple[RunDirectory, Publication]) -> None:
    directory, publication = prepared
    assert values(directory) == [1, 2]
    publication.commit(directory.publication)
    late = directory.part_files()
    assert values(directory) == [1, 20, 3]
    publication.apply(directory.output)
    publication.apply(directory.output)
    assert values(directory) == [1, 20, 3]
    publication.close(directory.publication, directory.output)
    assert values(directory) == [1, 20, 3]
    assert [read_columns(entry.uri)["value"][0].as_py() for entry in late] == [1, 20, 3]
    assert [row_count(entry.uri) for entry in late] == [1, 1, 1]
    assert Path(directory.output, "README.md").read_text() == "after"
    assert Path(directory.output, "_vqa_ray/checkpoint/b.pq").exists()
    assert not Path(directory.output, ATTEMPT).exists()


def test_a_journal_of_another_version_is_refused(prepared: tuple[RunDirectory, Publication]) -> None:
    directory, _ = prepared
    Path(directory.publication).write_text('{"format": 9}')
    with pytest.raises(RequestError, match="format 9 of another version"):
        directory.part_files()

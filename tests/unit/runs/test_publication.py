"""From its journal on, an update holds; readers that come late find its files in their places."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from vqa_ray.errors import RequestError
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.publication import Publication
from vqa_ray.storage.atomic import write_table_atomic

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
    pairs = tuple((f"part-{name}.parquet", f"{ATTEMPT}/_prepared/part-{name}.pq") for name in "bc")
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
    assert not Path(directory.output, ATTEMPT).exists()


def test_a_journal_of_another_version_is_refused(prepared: tuple[RunDirectory, Publication]) -> None:
    directory, _ = prepared
    Path(directory.publication).write_text('{"format": 9}')
    with pytest.raises(RequestError, match="format 9 of another version"):
        directory.part_files()

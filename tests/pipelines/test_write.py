"""What a write task leaves behind: the rows, and for the cache what is new in them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.data._internal.execution.interfaces import TaskContext
from ray.data.datasource import FilenameProvider, WriteResult

from vqa_ray.cache.answer_cache import AnswerCache
from vqa_ray.cache.directory import open_directory
from vqa_ray.cache.entries import CacheUsage, Entry, attach
from vqa_ray.errors import OutputTakenOverError
from vqa_ray.pipelines.write import FencedNames, RowSink
from vqa_ray.runs.claims import Fence
from vqa_ray.storage.filesystem import filesystem_for

ROWS = pa.schema([("row_id", pa.int64())])


def _sink(directory: Path, cache: Path | None) -> RowSink:
    filesystem, path = filesystem_for(str(directory))
    names = FilenameProvider(dataset_uuid="part-x", file_format="parquet")
    return RowSink(path, filesystem, ROWS, names, 1, cache=str(cache) if cache else None)


def _block(number: int) -> pa.Table:
    cache = AnswerCache("unused")
    entries = {bytes([number]) * 32: Entry('{"scores":[0.5]}', 1.0)}
    cache.record("context", entries, CacheUsage(number, 1, 2.0))
    return attach(pa.table({"row_id": [2 * number, 2 * number + 1]}), [cache.take_news()])


def test_a_write_task_parts_rows_from_news(tmp_path: Path) -> None:
    output, kept = tmp_path / "out", tmp_path / "cache"
    open_directory(str(kept))
    output.mkdir()
    sink = _sink(output, kept)
    returned = [
        sink.write([_block(2 * task), _block(2 * task + 1)], TaskContext(task, "Write", kwargs={"write_uuid": "x"}))
        for task in range(2)
    ]
    assert returned == [CacheUsage(1, 2, 4.0), CacheUsage(5, 2, 4.0)]
    sink.on_write_complete(WriteResult(8, 1, returned))
    assert sink.usage == CacheUsage(6, 4, 8.0)
    assert pq.read_table(output).schema.names == ["row_id"]
    assert sorted(pq.read_table(output)["row_id"].to_pylist()) == list(range(8))
    found = AnswerCache(str(kept)).find("context", [bytes([number]) * 32 for number in range(5)])
    assert len(found) == 4


def test_rows_without_a_cache_are_written_as_they_are(tmp_path: Path) -> None:
    sink = _sink(tmp_path, None)
    sink.write([pa.table({"row_id": [1]})], TaskContext(0, "Write", kwargs={"write_uuid": "x"}))
    sink.on_write_complete(WriteResult(1, 1, [None]))
    assert sink.usage is None
    assert pq.read_table(tmp_path)["row_id"].to_pylist() == [1]


def test_a_cache_that_cannot_be_written_costs_no_rows(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    (tmp_path / "out").mkdir()
    sink = _sink(tmp_path / "out", tmp_path / "cache")
    usage = sink.write([_block(1)], TaskContext(0, "Write", kwargs={"write_uuid": "x"}))
    assert usage is not None
    assert "cannot be written" in str(usage.problem)
    assert pq.read_table(tmp_path / "out").num_rows == 2


def test_a_writer_that_was_presumed_dead_gets_no_name_for_another_file(tmp_path: Path) -> None:
    names = FencedNames("part-1", Fence(str(tmp_path), 1, "of nobody"))
    with pytest.raises(OutputTakenOverError):
        names.get_filename_for_task("write", 0)

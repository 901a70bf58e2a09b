"""Rows divided by their ids into partitions on disk, so that each is joined by itself in bounded memory."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
from pyarrow import fs as pafs
from pyarrow import ipc

from vqa_ray.judging.side import Side, keys_of
from vqa_ray.judging.similar_ids import loose_form
from vqa_ray.storage.filesystem import exists, filesystem_for, list_files
from vqa_ray.storage.uri import join, name_of

PARTITION_ROWS = 25_000
KEY = pa.field("key", pa.string())
_FLUSHED_ROWS = 25_000
_OPTIONS = ipc.IpcWriteOptions(compression="lz4")


def partition_of(key: str | None, partitions: int) -> int:
    """Return the partition of an id; ids of one loose form share it."""
    return zlib.crc32(loose_form(key or "").encode()) % partitions


def divide(side: Side, task: int, key: Sequence[str], partitions: int, file: str) -> None:
    """Write the rows of a task into a file of partitions, with a column `key`, unless the file is there.

    Args:
        side: whose task it is.
        task: its number.
        key: the columns of the id.
        partitions: how many there are.
        file: where to; see `side_file`.
    """
    if exists(file):
        return
    tables = (part.append_column(KEY, pa.array(keys_of(part, key), pa.string())) for part in side.tables(task))
    first = next(tables, None)
    filesystem, path = filesystem_for(file)
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(path.rpartition("/")[0])
    temporary = f"{path}.{uuid.uuid4().hex}.part"
    if first is None:
        first = pa.table({})
    with (
        filesystem.open_output_stream(temporary) as sink,
        ipc.new_file(sink, first.schema, options=_OPTIONS) as writer,
    ):
        for table in _gathered(chain([first], tables)):
            for part in _split(table, partitions):
                writer.write_batch(part)
    filesystem.move(temporary, path)


def side_file(directory: str, name: str, task: int) -> str:
    """Return the file of a task of a side."""
    return join(directory, f"{name}-{task:05d}.arrow")


def read_partition(directory: str, name: str, partition: int, partitions: int) -> pa.Table | None:
    """Return the rows of a partition, of all tasks of a side; None for none."""
    batches: list[pa.RecordBatch] = []
    for uri in partition_files(directory, name):
        filesystem, path = filesystem_for(uri)
        with filesystem.open_input_file(path) as source, ipc.open_file(source) as reader:
            batches += [reader.get_batch(i) for i in range(partition, reader.num_record_batches, partitions)]
    return pa.Table.from_batches(batches) if batches else None


def partition_files(directory: str, name: str) -> list[str]:
    """Return the files of a side, by task."""
    found = list_files(directory) if exists(directory) else []
    return [e.uri for e in found if name_of(e.uri).startswith(f"{name}-") and e.uri.endswith(".arrow")]


def _gathered(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the same rows in tables of some thousands."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        if rows >= _FLUSHED_ROWS:
            yield pa.concat_tables(held)
            held, rows = [], 0
    if rows:
        yield pa.concat_tables(held)


def _split(table: pa.Table, partitions: int) -> Iterator[pa.RecordBatch]:
    """Yield a batch for each partition, empty ones too."""
    numbers = np.fromiter((partition_of(key, partitions) for key in table["key"].to_pylist()), np.int64, len(table))
    order = np.argsort(numbers, kind="stable")
    ordered = table.take(pa.array(order)).combine_chunks()
    ends = np.searchsorted(numbers[order], np.arange(partitions + 1))
    for start, stop in pairwise(ends):
        part = ordered.slice(start, stop - start).to_batches()
        yield part[0] if part else pa.RecordBatch.from_pylist([], schema=table.schema)

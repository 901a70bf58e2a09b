"""The stage that reads rows in an order that was planned: what a read task of training runs on a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from vqa_ray import schema
from vqa_ray.conversation.conversation import CONVERSATION
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.keys import Keys
from vqa_ray.process import release_memory
from vqa_ray.readers import Shard, Source, read_shard
from vqa_ray.training.data.captions import with_captions
from vqa_ray.training.data.row_schema import TRAINING_FIELDS
from vqa_ray.training.data.schedule import ScheduledRows

MAX_TABLE_ROWS = 256
MAX_TABLE_BYTES = 8 * 2**20
SCHEMA = schema.with_kept(schema.READ, TRAINING_FIELDS)


@dataclass(frozen=True)
class ReadScheduled:
    """Reads the rows of one part of a plan; pickles small, because it holds nothing of other parts.

    In memory is one window of the plan, and never more.

    Attributes:
        source: what is read, without its list of shards.
        shards: those that hold the rows, in the order of the plan.
        planned: which rows, and in what order.
        captions: the column of the source whose captions stand in place of questions; None where there are questions.
    """

    source: Source
    shards: tuple[Shard, ...]
    planned: ScheduledRows
    captions: str | None = None
    # Ray names a read task by its function when it warns.
    __name__ = "read_planned"

    @property
    def rows(self) -> int:
        """Rows that it gives."""
        return len(self.planned)

    @property
    def size_bytes(self) -> int:
        """Bytes of these rows in storage, about."""
        read = sum(shard.size_bytes for shard in self.shards)
        there = sum(shard.rows or 0 for shard in self.shards)
        return read * self.rows // there if there > self.rows else read

    def __call__(self) -> Iterator[pa.Table]:
        """Yield tables of READ, of `CONVERSATION` where there are such, and of the fields of training.

        They come in the order of the schedule. A table has at most 256 rows and 8 MiB, but for a larger row. A row that
        is not found again comes as an error.
        """
        arrived = _Arrived(self._in_order(), self._form)
        begin = 0
        for rows in self.planned.windows.tolist():
            for first, table in _shuffled(arrived.take(rows), self.planned.keys[begin : begin + rows]):
                yield self._with_training(table, begin + first)
            begin += rows
            release_memory()

    def _in_order(self) -> Iterator[pa.Table]:
        """Yield the rows as they are stored."""
        for shard in self.shards:
            first, stop = shard.index << schema.ROW_BITS, (shard.index + 1) << schema.ROW_BITS
            keys = self.planned.keys[(self.planned.keys >= first) & (self.planned.keys < stop)]
            ascending = np.sort(keys)
            yield from _complete(self._read(shard, ascending), shard, ascending, self._form)

    def _read(self, shard: Shard, keys: Keys) -> Iterator[pa.Table]:
        for table in read_shard(self.source, shard, keys.tolist()):
            yield table.select(self._form.names) if self.captions is None else with_captions(table, self.captions)

    @property
    def _form(self) -> pa.Schema:
        """The columns that are read."""
        return schema.with_kept(schema.READ, (CONVERSATION,) if self.source.config.conversations else ())

    def _with_training(self, table: pa.Table, first: int) -> pa.Table:
        rows = slice(first, first + table.num_rows)
        planned = self.planned
        begin = planned.targets.offsets[rows.start]
        offsets = planned.targets.offsets[rows.start : rows.stop + 1] - begin
        labels = slice(begin, begin + offsets[-1])
        classes = planned.auxiliary[rows]
        added = (
            pa.array(planned.steps[rows]),
            _lists(offsets, pa.array(planned.targets.ids[labels])),
            _lists(offsets, pa.array(planned.targets.weights[labels])),
            _lists(np.arange(len(classes) + 1) * classes.shape[1], pa.array(classes.reshape(-1))),
        )
        return pa.Table.from_arrays([*table.columns, *added], schema=schema.with_kept(table.schema, TRAINING_FIELDS))


def scheduled_reads(source: Source, parts: Sequence[ScheduledRows], captions: str | None = None) -> list[ReadScheduled]:
    """One reader for each part of a plan, in order.

    Args:
        source: what the keys of the plan are of, with its shards.
        parts: the rows to read, in their order.
        captions: see `ReadScheduled`.
    """
    slim = source.for_workers()
    return [ReadScheduled(slim, tuple(source.shards[index] for index in part.shards), part, captions) for part in parts]


class _Arrived:
    """A stream of tables, of which any number of rows can be taken."""

    def __init__(self, tables: Iterator[pa.Table], form: pa.Schema) -> None:
        self._tables = tables
        self._rest = form.empty_table()

    def take(self, rows: int) -> pa.Table:
        """Return the next rows."""
        held = [self._rest]
        count = self._rest.num_rows
        while count < rows:
            held.append(next(self._tables))
            count += held[-1].num_rows
        last = held[-1].num_rows - (count - rows)
        self._rest = held[-1].slice(last)
        held[-1] = held[-1].slice(0, last)
        return pa.concat_tables(held)


def _complete(tables: Iterator[pa.Table], shard: Shard, keys: Keys, form: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows with these keys, int64 (N,) ascending, each once and in order."""
    done = 0
    for table in tables:
        end = int(np.searchsorted(keys, table["source_key"][-1].as_py(), side="right"))
        yield _with_lost(table, keys[done:end], shard)
        done = end
        if done == len(keys):
            return
    yield _with_lost(form.empty_table(), keys[done:], shard)


def _with_lost(table: pa.Table, keys: Keys, shard: Shard) -> pa.Table:
    lost = np.setdiff1d(keys, _keys(table))
    if not len(lost):
        return table
    rows = [{"source_key": key, "row_id": key, **schema.error_cells(_lost(shard, key))} for key in lost.tolist()]
    return pa.concat_tables([table, pa.Table.from_pylist(rows, table.schema)]).sort_by("source_key")


def _lost(shard: Shard, key: int) -> RowError:
    row = key & ((1 << schema.ROW_BITS) - 1)
    message = f"{shard.uri}: row {row} was there when the rows were listed, and is not now"
    return RowError(ErrorCode.ROW_MALFORMED, message)


def _shuffled(window: pa.Table, keys: Keys) -> Iterator[tuple[int, pa.Table]]:
    """(place of its first row, table) of the rows of a window in the order of `keys`, int64 (N,)."""
    stored = _keys(window)
    by_key = np.argsort(stored)
    order = by_key[np.searchsorted(stored, keys, sorter=by_key)]
    # Arrow would first join all images to take some of them: they are taken one by one from where they are.
    images = [image for chunk in window["image"].chunks for image in chunk] if _has_images(window) else None
    at = window.schema.get_field_index("image")
    others = window.remove_column(at).combine_chunks()
    sizes = compute.binary_length(window["image"]).fill_null(0).to_numpy()[order]
    for begin, end in _cuts(sizes):
        rows = order[begin:end]
        chosen = [None] * len(rows) if images is None else [images[row] for row in rows.tolist()]
        yield (
            begin,
            others.take(pa.array(rows)).add_column(at, schema.READ.field(at), pa.array(chosen, pa.large_binary())),
        )


def _cuts(sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    begin, held = 0, 0
    for at, size in enumerate(sizes.tolist()):
        if at > begin and (at - begin >= MAX_TABLE_ROWS or held + size > MAX_TABLE_BYTES):
            yield begin, at
            begin, held = at, 0
        held += size
    if len(sizes):
        yield begin, len(sizes)


def _has_images(window: pa.Table) -> bool:
    return bool(window["image"].null_count < window.num_rows)


def _keys(table: pa.Table) -> Keys:
    keys: Keys = table["source_key"].to_numpy()
    return keys


def _lists(offsets: npt.NDArray[np.int64], values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)

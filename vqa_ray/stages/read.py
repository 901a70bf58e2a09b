"""The stage that reads one shard, which a read task runs on a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.keys import NOTHING, Keys, Ranges, between, size, within
from vqa_ray.process import release_memory
from vqa_ray.readers import Shard, Source, read_shard
from vqa_ray.schema import ROW_BITS


@dataclass(frozen=True)
class ReadShard:
    """Reads one shard; pickles small, because it holds no other shard of the source.

    Attributes:
        source: the opened input, with an empty list of shards.
        shard: the part to read.
        keys: int64 (N,), the source_keys to read; None for all.
        done: int64 (R, 2) ranges of source_keys that are written already.
        limit: upper limit of rows to look at, from the beginning; None for all.
        questions: source_key → indices of the row's questions to ask; None for all questions of all rows.
    """

    source: Source
    shard: Shard
    keys: Keys | None = None
    done: Ranges | None = None
    limit: int | None = None
    questions: Mapping[int, tuple[int, ...]] | None = None
    # Ray's warnings name a read task by its function.
    __name__ = "read_shard"

    @property
    def rows(self) -> int | None:
        """The number of rows to read; None where it is unknown before reading."""
        if self.keys is not None:
            return len(self.keys)
        known = self.shard.rows if self.limit is None else self.limit
        return None if known is None else max(0, known - (0 if self.done is None else size(self.done)))

    def __call__(self) -> Iterator[pa.Table]:
        """Yield READ tables with kept columns."""
        yield from self._tables()
        release_memory()

    def _tables(self) -> Iterator[pa.Table]:
        wanted = None if self.keys is None else frozenset(self.keys.tolist())
        left = self.limit
        for table in read_shard(self.source, self.shard, wanted):
            if left is not None:
                table = table.slice(0, left)
                left -= table.num_rows
            if self.done is not None:
                table = table.filter(pa.array(~within(table["source_key"].to_numpy(), self.done)))
            if table.num_rows:
                yield table if self.questions is None else _with_questions(table, self.questions)
            if left == 0:
                return


def questions_of(pairs: npt.NDArray[np.int64]) -> dict[int, tuple[int, ...]]:
    """Group (source_key, question index) pairs, int64 (N, 2), by source_key."""
    found: dict[int, tuple[int, ...]] = {}
    for key, question in pairs.tolist():
        found[key] = (*found.get(key, ()), question)
    return found


def _with_questions(table: pa.Table, questions: Mapping[int, tuple[int, ...]]) -> pa.Table:
    """Return READ rows with null for the questions that are not asked."""
    cells = [
        [text if index in questions[key] else None for index, text in enumerate(texts or ())]
        for key, texts in zip(table["source_key"].to_pylist(), table["questions"].to_pylist(), strict=True)
    ]
    column = table.schema.get_field_index("questions")
    return table.set_column(column, table.schema.field(column), pa.array(cells, table.schema.field(column).type))


def read_tasks(
    source: Source,
    *,
    keys: Keys | None = None,
    limits: Mapping[int, int] | None = None,
    done: Ranges = NOTHING,
    questions: Mapping[int, tuple[int, ...]] | None = None,
) -> list[ReadShard]:
    """Make one reader per shard that has rows to read, in order of the shards.

    Args:
        source: the opened input.
        keys: int64 (N,) source_keys to read; None for all.
        limits: shard index → rows to look at, none of an absent shard; None for no limits.
        done: int64 (R, 2) ranges of source_keys that are written already.
        questions: source_key → indices of the row's questions to ask; None for all.
    """
    slim = source.for_workers()
    if keys is not None:
        keys = np.sort(keys[~within(keys, done)])
    tasks = []
    for shard in source.shards:
        first, stop = shard.index << ROW_BITS, (shard.index + 1) << ROW_BITS
        part = None if keys is None else keys[slice(*np.searchsorted(keys, [first, stop]))].copy()
        limit = None if limits is None else limits.get(shard.index, 0)
        ranges = between(done, first, stop)
        its = None if questions is None or part is None else {key: questions[key] for key in part.tolist()}
        task = ReadShard(slim, shard, part, ranges if len(ranges) else None, limit, its)
        if task.rows != 0:
            tasks.append(task)
    return tasks


def limits_for(source: Source, rows: int) -> dict[int, int]:
    """Find the first `rows` rows of a source: shard index → rows.

    Shards of unknown length are read here until there are enough rows, so `rows` should be small.
    """
    slim = source.for_workers()
    limits: dict[int, int] = {}
    for shard in source.shards:
        if rows <= 0:
            break
        found = shard.rows if shard.rows is not None else _count(slim, shard, rows)
        limits[shard.index] = min(found, rows)
        rows -= limits[shard.index]
    return limits


def _count(source: Source, shard: Shard, enough: int) -> int:
    rows = 0
    for table in read_shard(source, shard):
        rows += table.num_rows
        if rows >= enough:
            break
    return rows

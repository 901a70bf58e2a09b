"""The stage that reads one shard: what a read task runs on a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.readers import Shard, Source, read_shard
from vqa_ray.schema import ROW_BITS

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ReadShard:
    """Reads one shard; pickles small, because the other shards of the source are left out.

    Attributes:
        source: what is read; its list of shards is empty.
        shard: which part of it.
        keys: int64 (N,), the source_keys wanted; None for all.
        limit: the most rows to give; None for all.
    """

    source: Source
    shard: Shard
    keys: Keys | None = None
    limit: int | None = None
    # Ray names a read task by its function when it warns.
    __name__ = "read_shard"

    def __call__(self) -> Iterator[pa.Table]:
        """READ tables with the kept columns."""
        wanted = None if self.keys is None else frozenset(self.keys.tolist())
        left = self.limit
        for table in read_shard(self.source, self.shard, wanted):
            if left is None:
                yield table
                continue
            yield table.slice(0, left)
            left -= table.num_rows
            if left <= 0:
                return


def read_tasks(source: Source, keys: Keys | None = None, limits: dict[int, int] | None = None) -> list[ReadShard]:
    """One reader per shard that has wanted rows, in order of the shards.

    Args:
        source: what is read.
        keys: int64 (N,) source_keys wanted; None for all.
        limits: shard index → most rows to give; a shard that is absent gives none. None for no limits.
    """
    slim = source.for_workers()
    if keys is not None:
        keys = np.sort(keys)
    tasks = []
    for shard in source.shards:
        part = None
        if keys is not None:
            first, last = np.searchsorted(keys, [shard.index << ROW_BITS, (shard.index + 1) << ROW_BITS])
            part = keys[first:last].copy()
            if not len(part):
                continue
        limit = None
        if limits is not None:
            limit = limits.get(shard.index, 0)
            if limit <= 0:
                continue
        tasks.append(ReadShard(slim, shard, part, limit))
    return tasks


def limits_for(source: Source, rows: int) -> dict[int, int]:
    """Which shards give the first `rows` rows of a source: shard index → rows.

    Shards that do not tell their rows are read here until there are enough, so this is for small numbers.
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
    for table in read_shard(source, shard, None):
        rows += table.num_rows
        if rows >= enough:
            break
    return rows

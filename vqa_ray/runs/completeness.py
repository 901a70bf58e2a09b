"""Check that every input row came back exactly once. Pure: int64 arrays in, findings out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vqa_ray.schema import ROW_BITS

_SHOWN = 3
_ROW_MASK = (1 << ROW_BITS) - 1


def integrity_errors(
    keys: npt.NDArray[np.int64],
    rows_of_shard: Mapping[int, int] | None = None,
    malformed: npt.NDArray[np.int64] | None = None,
    torn: int = 0,
) -> list[str]:
    """Describe the faults of the rows of an output; empty when there are none.

    Args:
        keys: int64 (N,), the source_key of every input row written, in any order; sorted in place.
        rows_of_shard: shard → its rows when undamaged, for the shards that tell.
        malformed: int64 (M,), the source_keys of `row_malformed` rows: a damaged shard ends early, with such a row.
        torn: input rows of which questions are missing, or there twice.
    """
    keys.sort()
    errors = [f"{torn} input rows lack one of their questions, or have one twice"] if torn else []
    twice = np.unique(keys[1:][keys[1:] == keys[:-1]])
    if len(twice):
        errors.append(f"{len(twice)} rows were written more than once, such as {_shown(twice)}")
    unique = np.unique(keys) if len(twice) else keys
    # Of sorted keys: `np.unique` would sort again, and hold three more integers a row.
    shard_of = unique >> ROW_BITS
    starts = np.flatnonzero(np.diff(shard_of, prepend=-1))
    shards, counts = shard_of[starts], np.diff(starts, append=len(unique))
    lasts = unique[starts + counts - 1]
    holes = [
        f"shard {shard} ends at row {last} but has {count} rows"
        for shard, last, count in zip(shards.tolist(), (lasts & _ROW_MASK).tolist(), counts.tolist(), strict=True)
        if last != count - 1
    ]
    ended_early = np.isin(lasts, np.empty(0, np.int64) if malformed is None else malformed)
    have = dict(zip(shards.tolist(), counts.tolist(), strict=True))
    damaged = set(shards[ended_early].tolist())
    for shard, rows in (rows_of_shard or {}).items():
        count = have.get(shard, 0)
        if count > rows or (count < rows and shard not in damaged):
            holes.append(f"shard {shard} has {count} of {rows} rows")
    if holes:
        more = f", and {len(holes) - _SHOWN} more" if len(holes) > _SHOWN else ""
        errors.append(f"rows are missing: {'; '.join(holes[:_SHOWN])}{more}")
    return errors


def unexpected_keys(keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> list[str]:
    """Check that the output holds exactly the rows `wanted`, each once. Both are source_keys, int64 (N,)."""
    if np.array_equal(np.sort(keys), np.sort(wanted)):
        return []
    return [f"{len(keys)} rows came back for {len(wanted)} that were wanted, or others than these"]


def repeated(ids: npt.NDArray[np.int64]) -> int:
    """Count the rows that share their id with another. `ids`: int64 (N,), sorted in place."""
    ids.sort()
    if len(ids) < 2:
        return 0
    same = ids[1:] == ids[:-1]
    return int(np.count_nonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same])))


def _shown(keys: npt.NDArray[np.int64]) -> str:
    return ", ".join(f"shard {key >> ROW_BITS} row {key & _ROW_MASK}" for key in keys[:_SHOWN].tolist())

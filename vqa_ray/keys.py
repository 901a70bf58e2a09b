"""Sets of source_keys as ranges: rows of a block follow each other, so millions of keys are few ranges. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]
Ranges = npt.NDArray[np.int64]

NOTHING: Ranges = np.empty((0, 2), np.int64)


def ranges_of(keys: Keys) -> Ranges:
    """Turn keys, in any order, into int64 (R, 2) ranges, both ends included."""
    if not len(keys):
        return NOTHING
    unique = np.unique(keys)
    breaks = np.flatnonzero(np.diff(unique) != 1)
    firsts = unique[np.concatenate([[0], breaks + 1])]
    lasts = unique[np.concatenate([breaks, [len(unique) - 1]])]
    return np.stack([firsts, lasts], axis=1)


def keys_of(ranges: Ranges) -> Keys:
    """List the keys in `ranges`: int64 (N,)."""
    every = [np.arange(first, last + 1) for first, last in ranges.tolist()]
    return np.concatenate([np.empty(0, np.int64), *every])


def within(keys: Keys, ranges: Ranges) -> npt.NDArray[np.bool_]:
    """Check for each of `keys`, int64 (N,), whether it lies in one of `ranges`, int64 (R, 2) ascending: bool (N,)."""
    if not len(ranges):
        return np.zeros(len(keys), np.bool_)
    nearest = np.searchsorted(ranges[:, 0], keys, side="right") - 1
    inside: npt.NDArray[np.bool_] = (nearest >= 0) & (keys <= ranges[np.maximum(nearest, 0), 1])
    return inside


def between(ranges: Ranges, first: int, stop: int) -> Ranges:
    """Return the part of `ranges` (ascending) from key `first` up to but without `stop`, cut at both ends."""
    begin, end = np.searchsorted(ranges[:, 1], first), np.searchsorted(ranges[:, 0], stop)
    return np.clip(ranges[begin:end], first, stop - 1)


def size(ranges: Ranges) -> int:
    """Count the keys in `ranges`."""
    return int((ranges[:, 1] - ranges[:, 0] + 1).sum())

"""The best of many scores, in an order without ties: what is best of each shard, merged, is the best of all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Best(NamedTuple):
    """Some of the rows: the highest score first; of equal ones the smallest id, then the smallest position.

    Attributes:
        scores: float32 (K,), none of them NaN.
        ids: int64 (K,).
        positions: int64 (K,), which row each is.
    """

    scores: Scores
    ids: Ids
    positions: Ids


def top_k(scores: Scores, ids: Ids, k: int, positions: Ids | None = None) -> Best:
    """The best `k` rows, or all where there are fewer. A row whose score is NaN is never among them.

    Args:
        scores: float32 (N,).
        ids: int64 (N,); rows may share one.
        k: how many, at least 1.
        positions: int64 (N,), all different; which row each is. 0 to N - 1 by default.

    Raises:
        ValueError: `k` is less than 1, or the arrays differ in length.
    """
    if k < 1:
        raise ValueError(f"the best {k} rows: at least 1 is needed")
    places = np.arange(len(scores)) if positions is None else positions
    if not len(scores) == len(ids) == len(places):
        raise ValueError(f"{len(scores)} scores, {len(ids)} ids and {len(places)} positions: wanted as many of each")
    kept = np.flatnonzero(~np.isnan(scores))
    if len(kept) > k:
        # All that tie with the last one stay, so that the order below decides between them.
        least = np.partition(scores[kept], len(kept) - k)[len(kept) - k]
        kept = kept[scores[kept] >= least]
    order = kept[np.lexsort((places[kept], ids[kept], -scores[kept]))][:k]
    return Best(scores[order], ids[order], places[order].astype(np.int64))


def merge(parts: Iterable[Best], k: int) -> Best:
    """The best `k` rows of several parts that each hold their own best `k`.

    Args:
        parts: of different rows: no position comes twice.
        k: how many, at least 1.
    """
    nothing = Best(np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    scores, ids, positions = (np.concatenate(columns) for columns in zip(nothing, *parts, strict=True))
    return top_k(scores, ids, k, positions)

"""The best of many scores in an order without ties, so that the merged best of parts are the best of all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Best(NamedTuple):
    """The best rows: highest score first, among equal scores the smallest id, then the smallest position.

    Attributes:
        scores: float32 (K,), none of them NaN.
        ids: int64 (K,).
        positions: int64 (K,), of the rows.
    """

    scores: Scores
    ids: Ids
    positions: Ids


def top_k(scores: Scores, ids: Ids, k: int, positions: Ids | None = None) -> Best:
    """Select the best `k` rows, or all if there are fewer; rows with a NaN score are left out.

    Args:
        scores: float32 (N,).
        ids: int64 (N,); rows may share one.
        k: rows wanted, at least 1.
        positions: int64 (N,), all different, of the rows; 0 to N - 1 by default.

    Raises:
        ValueError: `k` is less than 1, or the arrays differ in length.
    """
    if k < 1:
        raise ValueError(f"the best {k} rows: at least 1 is needed")
    numbers = np.arange(len(scores)) if positions is None else positions
    if not len(scores) == len(ids) == len(numbers):
        raise ValueError(f"{len(scores)} scores, {len(ids)} ids and {len(numbers)} positions: wanted as many of each")
    kept = np.flatnonzero(~np.isnan(scores))
    if len(kept) > k:
        # All that tie with the last one stay, so that the order below decides between them.
        least = np.partition(scores[kept], len(kept) - k)[len(kept) - k]
        kept = kept[scores[kept] >= least]
    order = kept[np.lexsort((numbers[kept], ids[kept], -scores[kept]))][:k]
    return Best(scores[order], ids[order], numbers[order].astype(np.int64))


def merge(parts: Iterable[Best], k: int) -> Best:
    """Merge the best `k` rows of several parts into the best `k` of all.

    Args:
        parts: each with its own best `k` rows; positions occur once.
        k: rows wanted, at least 1.
    """
    nothing = Best(np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    scores, ids, positions = (np.concatenate(columns) for columns in zip(nothing, *parts, strict=True))
    return top_k(scores, ids, k, positions)

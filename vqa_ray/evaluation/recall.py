"""Recall at k: how often something right is among the first k that a search finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_QUERIES_AT_ONCE = 512


def ranks_of_right(
    queries: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.float32],
    right: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Count, for each query, the wrong candidates that score at least as high as the best right one.

    Ties count against the right candidate, so that vectors that are all equal find nothing.

    Args:
        queries: float32 (Q, D). A score is a dot product.
        candidates: float32 (C, D).
        right: indices of the right candidates of all queries, one query after the other.
        offsets: (Q + 1,): the right candidates of query i are `right[offsets[i] : offsets[i + 1]]`, at least one.

    Returns:
        int64 (Q,); 0 is the best rank.

    Raises:
        ValueError: a query has no right candidate.
    """
    lengths = np.diff(offsets)
    if len(lengths) and lengths.min() < 1:
        raise ValueError("a query has no right candidate")
    found = np.empty(len(queries), np.int64)
    for begin in range(0, len(queries), _QUERIES_AT_ONCE):
        end = min(begin + _QUERIES_AT_ONCE, len(queries))
        scores = queries[begin:end] @ candidates.T
        rows = np.repeat(np.arange(end - begin), lengths[begin:end])
        columns = right[offsets[begin] : offsets[end]]
        best = np.full(end - begin, -np.inf, scores.dtype)
        np.maximum.at(best, rows, scores[rows, columns])
        # A right candidate does not count against itself.
        scores[rows, columns] = -np.inf
        found[begin:end] = (scores >= best[:, None]).sum(axis=1)
    return found


def recall_at(ranks: npt.NDArray[np.int64], ks: Sequence[int]) -> dict[int, float]:
    """Return, by k, the share of the queries with a right candidate among their first k, in 0–1.

    Args:
        ranks: int64 (Q,) of `ranks_of_right`, at least one.
        ks: numbers of hits to look at.
    """
    return {k: float((ranks < k).mean()) for k in ks}

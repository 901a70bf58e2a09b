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
    """int64 (Q,): how many wrong candidates score at least as high as the best right one; 0 is the best there is.

    What scores equally counts against the right one: vectors that are all the same find nothing.

    Args:
        queries: (Q, D). candidates: (C, D). A score is a dot product.
        right: places of the right candidates of all queries, one query after the other.
        offsets: (Q + 1,): those of query i are `right[offsets[i] : offsets[i + 1]]`, at least one.

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
        # What is right does not stand in its own way.
        scores[rows, columns] = -np.inf
        found[begin:end] = (scores >= best[:, None]).sum(axis=1)
    return found


def recall_at(ranks: npt.NDArray[np.int64], ks: Sequence[int]) -> dict[int, float]:
    """k → share of the queries with a right candidate among their first k, in 0–1.

    Args:
        ranks: int64 (Q,) of `ranks_of_right`, at least one.
    """
    return {k: float((ranks < k).mean()) for k in ks}

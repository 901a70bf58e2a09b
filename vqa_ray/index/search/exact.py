"""Exact search: every row is scored, a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from vqa_ray.index.search.scoring import Scorer, Vectors
from vqa_ray.index.search.top_k import Best, Ids, merge, top_k

# float32 values per piece: 16 MiB.
_VALUES_AT_ONCE = 2**22


class Block(NamedTuple):
    """Some of the rows to score.

    Attributes:
        embeddings: float32 (N, V * D), each vector of length 1.
        ids: int64 (N,), the order of equal scores.
        positions: int64 (N,), of the rows.
    """

    embeddings: Vectors
    ids: Ids
    positions: Ids


def nearest(scorer: Scorer, blocks: Iterable[Block], k: int) -> Best:
    """Find the `k` rows with the highest scores, independent of the blocks.

    A quick score, up to rounding, selects candidates, which are scored exactly. A row with a NaN score is never a hit.

    Args:
        scorer: of the query.
        blocks: the rows, each once, in any order.
        k: how many, at least 1.
    """
    margin = np.float32(2 * scorer.rounding)
    best = merge((), k)
    for whole in blocks:
        for block in _cut(whole, len(scorer.rows)):
            quick = scorer.quick(block.embeddings)
            quick[np.isnan(quick)] = -np.inf
            # A lower bound of the k-th best score, up to rounding.
            least = np.float32(-np.inf) if len(best.scores) < k else best.scores[-1]
            if len(quick) > k:
                least = max(least, np.partition(quick, len(quick) - k)[len(quick) - k])
            near = np.flatnonzero(quick >= least - margin)
            scores = scorer.scores(block.embeddings[near])
            best = merge((best, top_k(scores, block.ids[near], k, block.positions[near])), k)
    return best


def _cut(whole: Block, query_rows: int) -> Iterator[Block]:
    """Cut a block into pieces with bounded vectors and products with the query."""
    count = len(whole.embeddings)
    at_once = max(1, _VALUES_AT_ONCE * count // max(1, whole.embeddings.size * max(1, query_rows // 4)))
    for start in range(0, count, at_once):
        part = slice(start, start + at_once)
        yield Block(whole.embeddings[part], whole.ids[part], whole.positions[part])

"""Filtered search with an approximate index, and the recall of the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from vqa_ray.index.search.exact import Block
from vqa_ray.index.search.scoring import Scorer, Scores, Vectors
from vqa_ray.index.search.top_k import Best, Ids, top_k

Mask = npt.NDArray[np.bool_]

# Factor for rows and partitions of the next query, after the filter left too few rows.
_GROWTH = 4
# An exact search is as quick as fetching more rows.
_MOST_FETCHED = 65_536
_ROWS_AT_ONCE = 65_536
# Scores that differ by less are equal up to rounding.
_EQUAL = np.float32(1e-5)


class Nearest(Protocol):
    """An approximate index of rows with one vector each."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """The parameters of a query and of the index; `probes` of `partitions` are searched."""
        ...

    def nearest(self, vectors: Vectors, k: int, *, probes: int = ...) -> list[tuple[Scores, Ids]]:
        """Cosines and positions of the best k rows for each query, approximately."""
        ...


class ApproximateHits(NamedTuple):
    """Hits of an approximate index.

    Attributes:
        best: the hits.
        parameters: of the last query.
    """

    best: Best
    parameters: Mapping[str, int]


def nearest(ann: Nearest, scorer: Scorer, ids: Ids, mask: Mask, k: int) -> ApproximateHits | None:
    """Find the best rows of a mask; queries more rows and partitions until `k` rows pass the mask.

    Args:
        ann: the approximate index of the rows.
        scorer: of the query.
        ids: int64 (rows,), by position.
        mask: bool (rows,).
        k: how many, at least 1.

    Returns:
        None where an exact search is as quick.
    """
    parameters = dict(ann.parameters)
    (vector,) = scorer.rows
    # The mean of the vectors of a text and an image is shorter than 1; its products are scaled by its length.
    length = np.float32(np.linalg.norm(vector.astype(np.float64)))
    wanted = int(np.ceil(k * len(mask) / max(1, int(np.count_nonzero(mask)))))
    while wanted <= min(_MOST_FETCHED, len(mask)):
        ((cosines, positions),) = ann.nearest((vector / length)[None], wanted, probes=parameters["probes"])
        allowed = mask[positions]
        if np.count_nonzero(allowed) >= k:
            found = positions[allowed]
            return ApproximateHits(top_k(cosines[allowed] * length, ids[found], k, found), parameters)
        wanted *= _GROWTH
        parameters["probes"] = min(parameters["probes"] * _GROWTH, max(1, parameters["partitions"]))
    return None


def recall(ann: Nearest, queries: Vectors, blocks: Iterable[Block], k: int) -> float:
    """Measure the mean recall@`k` of an approximate index over some queries.

    A row that scores as high as the last exact hit counts as an exact hit.

    Args:
        ann: the approximate index of the rows.
        queries: float32 (Q, D), of length 1, Q at least 1.
        blocks: all of its rows, one vector each.
        k: how many, at least 1.
    """
    exact = np.full((len(queries), k), -np.inf, np.float32)
    for block in blocks:
        for start in range(0, len(block.embeddings), _ROWS_AT_ONCE):
            scores = queries @ block.embeddings[start : start + _ROWS_AT_ONCE].T
            both = np.concatenate([exact, scores], axis=1)
            exact = np.partition(both, both.shape[1] - k, axis=1)[:, both.shape[1] - k :]
    found = [
        np.count_nonzero(cosines >= row[0] - _EQUAL) / max(1, int(np.count_nonzero(np.isfinite(row))))
        for (cosines, _), row in zip(
            ann.nearest(queries, k, probes=ann.parameters["probes"]), np.sort(exact, axis=1), strict=True
        )
    ]
    return float(np.mean(found))

"""A sample whose inclusion probabilities are known, so that what is measured on it holds for all. Pure.

Every strategy is a weight for each item. Probabilities are proportional to the weights, at most 1, and add up to the
size of the sample; systematic sampling over a random order draws exactly so many items (Madow 1949).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

Strategy: TypeAlias = Literal["random", "stratified", "uncertain", "diverse"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
# Of the least weight to the greatest: a sure answer is asked for too, if seldom.
_LEAST_WEIGHT = 0.05

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of N items, in random order: a review that stops early has seen a fair part of it.

    Attributes:
        items: int64 (S,), their numbers.
        probability: float64 (S,), of each to be in the sample.
    """

    items: npt.NDArray[np.int64]
    probability: Floats


def draw(strategy: Strategy, size: int, seed: int, strata: npt.NDArray[Any], scores: Floats) -> Sample:
    """Draw a sample.

    Args:
        strategy: `random`: every item alike; `stratified`: every stratum alike, however rare; `uncertain`: an item more
            often the lower its score; `diverse`: likewise, and every stratum alike.
        size: items to draw; all where there are fewer.
        seed: of the choice.
        strata: (N,), the stratum of each item: equal values are one stratum.
        scores: float64 (N,), 0..1, NaN for none, which is as unsure as can be.
    """
    weights = np.ones(len(scores))
    _, stratum, counts = np.unique(strata, return_inverse=True, return_counts=True)
    if strategy in ("uncertain", "diverse"):
        weights *= np.maximum(1 - np.nan_to_num(np.clip(scores, 0, 1), nan=0.0), _LEAST_WEIGHT)
    if strategy in ("stratified", "diverse"):
        weights /= counts[stratum]
    probability = inclusion_probabilities(weights, size)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(scores))
    if strategy == "random":
        # A larger sample begins with the smaller one.
        return Sample(order[:size], probability[order[:size]])
    if strategy == "stratified":
        # Neighbours are of one stratum, so that each gives as many as it should.
        order = order[np.argsort(stratum[order], kind="stable")]
    chosen = rng.permutation(_systematic(order, probability, rng.random()))
    return Sample(chosen, probability[chosen])


def inclusion_probabilities(weights: Floats, size: int) -> Floats:
    """Return probabilities proportional to positive weights, at most 1, with the sum `size`: float64 (N,)."""
    probability = np.ones(len(weights))
    if size >= len(weights):
        return probability
    free = np.ones(len(weights), np.bool_)
    while True:
        left = size - np.count_nonzero(~free)
        probability[free] = weights[free] * (left / weights[free].sum())
        certain = free & (probability >= 1)
        if not certain.any():
            return probability
        probability[certain] = 1
        free &= ~certain


def _systematic(order: npt.NDArray[np.int64], probability: Floats, start: float) -> npt.NDArray[np.int64]:
    """Take the items in whose stretch of the line a mark lies; marks are 1 apart, and begin at `start`."""
    ends = np.cumsum(probability[order])
    # Rounding must not move the end of the line over a mark.
    ends[-1:] = np.round(ends[-1:])
    marks = np.floor(ends - start).astype(np.int64)
    return order[np.diff(marks, prepend=-1) > 0]

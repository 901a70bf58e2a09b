"""How far two samples of values, or of scores, lie apart, and how much of that is chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

# The share of distances without any drift that are greater than the noise.
NOISE_LEVEL = 0.05

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Value in the first sample, value in the second, None where a row is in the other one alone → rows.
Pairs: TypeAlias = Mapping[tuple[str | None, str | None], int]


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of two samples by value.

    Attributes:
        values: the most frequent first.
        first, second: int64 (V,), rows of each.
        both: rows that are in both samples.
        flipped: of these, the rows with another value.
    """

    values: list[str]
    first: Ints
    second: Ints
    both: int
    flipped: int

    @classmethod
    def of(cls, pairs: Pairs) -> Counts:
        """Add up the rows of each sample."""
        values = sorted({value for pair in pairs for value in pair if value is not None})
        number = {value: place for place, value in enumerate(values)}
        sides = np.zeros((2, len(values)), np.int64)
        both = flipped = 0
        for pair, rows in pairs.items():
            for side, value in enumerate(pair):
                if value is not None:
                    sides[side, number[value]] += rows
            if None not in pair:
                both += rows
                flipped += rows * (pair[0] != pair[1])
        order = np.argsort(-sides.sum(0), kind="stable")
        return cls([values[place] for place in order], sides[0, order], sides[1, order], both, flipped)


def jensen_shannon(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Return the Jensen–Shannon distance of two distributions: 0 for the same, 1 where no value is in both.

    It is the square root of the divergence to base 2 (Endres & Schindelin 2003).

    Args:
        first: (…, V), counts or shares; distributions lie along the last axis.
        second: likewise.

    Returns:
        float64 (…); 0 where one of both is empty.
    """
    from scipy.spatial.distance import jensenshannon

    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    empty = (one.sum(-1) == 0) | (two.sum(-1) == 0)
    with np.errstate(invalid="ignore"):
        found = jensenshannon(one, two, base=2, axis=-1)
    # Rounding can make a divergence of next to nothing negative, whose root is not a number.
    return np.where(empty, 0.0, np.nan_to_num(found))


def jensen_shannon_noise(pairs: Pairs, resamples: int, rng: np.random.Generator) -> Floats:
    """Simulate the Jensen–Shannon distance of two samples that differ by chance alone.

    A row in both samples may have either of its values in either of them; a row in one has a value drawn from all.

    Args:
        pairs: the samples; see `Pairs`.
        resamples: number of simulations, R.
        rng: of the simulations.

    Returns:
        float64 (R,).
    """
    counts = Counts.of(pairs)
    number = {value: place for place, value in enumerate(counts.values)}
    sides = np.zeros((2, resamples, len(number)), np.int64)
    alone = [0, 0]
    swaps: dict[tuple[str, str], int] = {}
    for (first, second), rows in pairs.items():
        if first is None or second is None:
            alone[first is None] += rows
            continue
        if first == second:
            sides[..., number[first]] += rows
            continue
        kind = (min(first, second), max(first, second))
        swaps[kind] = swaps.get(kind, 0) + rows
    for (one, other), rows in swaps.items():
        kept = rng.binomial(rows, 0.5, resamples)
        for side, times in enumerate((kept, rows - kept)):
            sides[side, :, number[one]] += times
            sides[side, :, number[other]] += rows - times
    pooled = (counts.first + counts.second).astype(np.float64)
    for side, rows in enumerate(alone):
        if rows:
            sides[side] += rng.multinomial(rows, pooled / pooled.sum(), resamples)
    return jensen_shannon(*sides)


def kolmogorov_smirnov(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the greatest distance of two cumulative distributions, 0..1; 0 where one of both is empty.

    Args:
        first: (B,), counts of bins; distances within a bin are not seen.
        second: (B,), counts of the same bins.
    """
    one, two = np.cumsum(np.asarray(first, np.float64)), np.cumsum(np.asarray(second, np.float64))
    return float(np.abs(one / one[-1] - two / two[-1]).max()) if one[-1] and two[-1] else 0.0


def kolmogorov_smirnov_noise(first: int, second: int) -> float:
    """Return the distance that two independent samples of these sizes exceed once in twenty times (asymptotic).

    Samples of the same rows differ less by chance, so that for them it is an upper limit.
    """
    from scipy.stats import kstwobign

    scale = math.sqrt((first + second) / (first * second))
    return min(1.0, float(kstwobign.isf(NOISE_LEVEL)) * scale)


def noise_limit(distances: Sequence[float] | Floats) -> float:
    """Return the limit that simulated distances exceed once in twenty times."""
    return float(np.quantile(distances, 1 - NOISE_LEVEL))

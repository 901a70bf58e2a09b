"""The mean of scores of rows that come in clusters, such as questions about one image, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.student_t import t_quantile

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """A mean with its interval.

    Attributes:
        value: 0..1.
        low, high: of the interval; NaN with fewer than two clusters.
        rows, clusters: how many there are.
        variance: of a single row's score.
        design_effect: by how much the variance of the mean exceeds that of as many rows of as many clusters; 1 where
            the variance of the mean is 0.
    """

    value: float
    low: float
    high: float
    rows: int
    clusters: int
    variance: float
    design_effect: float


def clustered_mean(
    scores: npt.NDArray[np.float64], clusters: npt.NDArray[np.int64], level: float = LEVEL
) -> ClusteredMean:
    """Return the mean of scores with Wilson's interval on the cluster-robust variance.

    The variance of the mean is that of a ratio of totals of independent clusters, with the correction for few of them
    (Liang and Zeger 1986), and the quantile is Student's t with a degree less than there are clusters. Wilson's form
    keeps the interval within 0..1 and open at a mean of 0 or 1; the number of rows in it is the effective one, at
    which independent rows have this variance.

    Args:
        scores: float64 (N,), 0..1, at least one.
        clusters: int64 (N,), equal for rows of one cluster.
        level: of the interval.
    """
    rows, mean = len(scores), float(scores.mean())
    _, codes = np.unique(clusters, return_inverse=True)
    totals = np.bincount(codes, scores - mean)
    count = len(totals)
    variance = float(scores.var())
    if count < 2:
        return ClusteredMean(mean, float("nan"), float("nan"), rows, count, variance, 1.0)
    of_mean = float(totals @ totals) * count / (count - 1) / rows**2
    design = of_mean * rows / variance if of_mean > 0 and variance > 0 else 1.0
    # With a variance of 0, or all but 0 by chance, no more is known than by a row of each cluster.
    effective = min(mean * (1 - mean) / of_mean, _MOST_PER_ROW * rows) if of_mean > 0 else count
    low, high = wilson_interval(mean, effective, t_quantile((1 + level) / 2, count - 1))
    return ClusteredMean(mean, low, high, rows, count, variance, design)


# Rows of a cluster may balance each other, so that the effective number of rows exceeds their number; within reason.
_MOST_PER_ROW = 10


def wilson_interval(mean: float, rows: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's interval of a proportion.

    Args:
        mean: the proportion.
        rows: the effective number of independent rows.
        quantile: of the distribution of the standardised mean.
    """
    square = quantile**2 / rows
    centre = (mean + square / 2) / (1 + square)
    half = sqrt(square * (mean * (1 - mean) + square / 4)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)

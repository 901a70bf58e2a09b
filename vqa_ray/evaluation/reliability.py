"""How far the scores of predictions can be believed: calibration error, reliability diagram, risk–coverage curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.calibration import wilson

# As in Guo et al. 2017.
BINS = 15
_HISTOGRAM_BINS = 20
_POINTS = 100

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows whose scores lie between two limits: a point of the reliability diagram.

    Attributes:
        low, high: the limits of the scores; the last bin holds its upper one.
        n: number of rows.
        confidence: their mean score.
        accuracy: the share of them that is right.
        accuracy_low, accuracy_high: its 95 % interval (Wilson; every row counts as independent of the others).
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True, slots=True)
class Binned:
    """Rows in bins of their scores.

    Attributes:
        error: the expected calibration error: the distance of accuracy and mean score, averaged over the rows.
        bins: those that hold rows, by ascending score.
    """

    error: float
    bins: list[Bin]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many rows have which score.

    Attributes:
        edges: one more than bins.
        right, wrong: rows per bin; a row of credit c is c rows that are right and 1 − c that are wrong.
    """

    edges: list[float]
    right: list[float]
    wrong: list[float]


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """The share of wrong rows among those with the highest scores (Geifman & El-Yaniv 2017).

    Attributes:
        coverage: how much of the rows is kept, ascending, the last 1.
        risk: the share of these that is wrong.
        area: the mean risk over all coverages; rows with equal scores count in a random order.
    """

    coverage: list[float]
    risk: list[float]
    area: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """All of it, of `n` rows.

    Attributes:
        equal_width: 15 bins of the same width; comparable with most papers.
        equal_mass: 15 bins of as many rows each (equal scores stay together); less biased where scores crowd.
    """

    n: int
    equal_width: Binned
    equal_mass: Binned
    histogram: Histogram
    risk_coverage: RiskCoverage


def reliability(confidence: npt.ArrayLike, right: npt.ArrayLike) -> Reliability:
    """Measure how well scores tell right from wrong, and how near they are to the share that is right.

    Args:
        confidence: (N,), at least one; what lies outside of 0..1 counts to the nearest bin.
        right: (N,), the credit of each row, 0..1.

    Raises:
        ValueError: there are no rows, or a score is no finite number.
    """
    scores, credits = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError(f"scores to measure must be finite numbers, one at least; given are {len(scores)}")
    width = np.linspace(0, 1, BINS + 1)
    mass = np.unique(np.quantile(scores, width, method="lower"))
    edges = np.linspace(0, 1, _HISTOGRAM_BINS + 1)
    number = _bin_numbers(scores, edges)
    return Reliability(
        len(scores),
        _binned(scores, credits, width),
        _binned(scores, credits, mass if len(mass) > 1 else np.repeat(mass, 2)),
        Histogram(
            edges.tolist(),
            np.bincount(number, credits, _HISTOGRAM_BINS).tolist(),
            np.bincount(number, 1 - credits, _HISTOGRAM_BINS).tolist(),
        ),
        _risk_coverage(scores, credits),
    )


def calibration_error(confidence: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """Return the expected calibration error over 15 bins of the same width; see `reliability`."""
    scores, credits = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    return _binned(scores, credits, np.linspace(0, 1, BINS + 1)).error


def _bin_numbers(scores: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    return np.clip(np.searchsorted(edges, scores, "right") - 1, 0, len(edges) - 2)


def _binned(scores: Floats, credits: Floats, edges: Floats) -> Binned:
    number, count = _bin_numbers(scores, edges), len(edges) - 1
    n = np.bincount(number, minlength=count)
    confidence, hits = np.bincount(number, scores, count), np.bincount(number, credits, count)
    bins = []
    for place in np.flatnonzero(n):
        accuracy = wilson(float(hits[place]), int(n[place]))
        mean = float(confidence[place] / n[place])
        limits = float(edges[place]), float(edges[place + 1])
        bins.append(Bin(*limits, int(n[place]), mean, accuracy.value, accuracy.low, accuracy.high))
    return Binned(float(np.abs(confidence - hits).sum() / len(scores)), bins)


def _risk_coverage(scores: Floats, credits: Floats) -> RiskCoverage:
    _, number, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    mean = np.bincount(number, credits) / counts
    rows = np.arange(1, len(scores) + 1)
    risk = 1 - np.cumsum(np.repeat(mean, counts)) / rows
    shown = np.unique(np.linspace(1, len(scores), min(_POINTS, len(scores))).round().astype(int))
    return RiskCoverage((shown / len(scores)).tolist(), risk[shown - 1].clip(0, 1).tolist(), float(risk.mean()))

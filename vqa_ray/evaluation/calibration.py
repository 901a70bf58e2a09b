"""Fit probabilities and thresholds to scores and truth, and state the precision and recall to expect.

The map of scores to probabilities is isotonic regression, the non-decreasing steps nearest to the labels, found by
pooling adjacent violators (Ayer et al. 1955), or a temperature, the one number by which to divide the log-odds of the
scores so that the labels are likeliest (Guo et al. 2017).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from vqa_ray.evaluation.clustered_mean import wilson_interval

Aim: TypeAlias = Literal["f1", "precision", "recall"]
Method: TypeAlias = Literal["isotonic", "temperature"]

# Two-sided, 95 %.
_Z = 1.959964
# Scores nearer to 0 or 1 count as this near, so that their log-odds are finite.
_NEAREST = 1e-7
# Of which `math.exp` is finite.
_LARGEST_EXPONENT = 700.0
# Limits of the logarithm of a temperature.
_LOG_TEMPERATURES = (-4.0, 4.0)


@dataclass(frozen=True, slots=True)
class Target:
    """The aim of a threshold.

    Attributes:
        aim: `f1`: the greatest; `precision`: the most recall of at least that precision; `recall`: the most precision
            of at least that recall.
        at_least: of precision or recall, 0..1.
    """

    aim: Aim
    at_least: float = 0.0

    def __str__(self) -> str:
        return self.aim if self.aim == "f1" else f"{self.aim} {self.at_least:g}"


@dataclass(frozen=True, slots=True)
class IsotonicMap:
    """A non-decreasing map of scores to probabilities.

    Attributes:
        starts: the least score of each step, ascending; lower ones count to the first.
        probabilities: of each step, ascending.
    """

    starts: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, score: float) -> float:
        return self.probabilities[max(0, bisect_right(self.starts, score) - 1)]


@dataclass(frozen=True, slots=True)
class TemperatureMap:
    """A map of scores to probabilities that divides their log-odds by a temperature, above 1 for scores too sure."""

    temperature: float

    def __call__(self, score: float) -> float:
        return 1 / (1 + math.exp(min(-_log_odds(score) / self.temperature, _LARGEST_EXPONENT)))


ProbabilityMap: TypeAlias = IsotonicMap | TemperatureMap


@dataclass(frozen=True, slots=True)
class Measure:
    """A ratio, and where it lies with 95 % confidence (Wilson 1927)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CalibrationFit:
    """The fit of a score to a labelled sample.

    Attributes:
        probability: the map of scores to probabilities.
        threshold: the least score that counts as yes.
        rows, positives: of the sample.
        precision, recall: of the threshold on the sample; F1 is `f1`.
    """

    probability: ProbabilityMap
    threshold: float
    rows: int
    positives: int
    precision: Measure
    recall: Measure

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision.value + self.recall.value
        return 2 * self.precision.value * self.recall.value / total if total else 0.0


def fit(scores: Sequence[float], labels: Sequence[bool], target: Target, method: Method = "isotonic") -> CalibrationFit:
    """Fit the map and choose the threshold.

    Args:
        scores: 0..1, higher for a likelier yes.
        labels: whether a yes is right.
        target: what the threshold is chosen for.
        method: of the map; an isotonic one follows any shape, a temperature takes fewer labels.

    Raises:
        ValueError: there are no labels of one kind, or no threshold reaches the target; the best there is is named.
    """
    rows, positives = len(labels), sum(labels)
    if not 0 < positives < rows:
        raise ValueError(f"is right in {positives} of {rows} rows; expected in some and not in others")
    probability = isotonic(scores, labels) if method == "isotonic" else temperature(scores, labels)
    found = list(_thresholds(scores, labels))
    reached = [each for each in found if _reaches(each, target, positives)]
    if not reached:
        best = max(hits / said for _, hits, said in found)
        raise ValueError(f"no threshold has {target}; the best has {target.aim} {best:.3f}")
    threshold, hits, said = max(reached, key=lambda each: _worth(each, target, positives))
    return CalibrationFit(probability, threshold, rows, positives, wilson(hits, said), wilson(hits, positives))


def isotonic(scores: Sequence[float], labels: Sequence[bool]) -> IsotonicMap:
    """Return the non-decreasing steps with the least squared distance to the labels; equal scores are on one step."""
    # Per block: the least and the greatest score, how many are yes, how many there are.
    blocks: list[tuple[float, float, int, int]] = []
    for score, group in itertools.groupby(sorted(zip(scores, labels, strict=True)), key=lambda pair: pair[0]):
        alike = [label for _, label in group]
        block = (score, score, sum(alike), len(alike))
        while blocks and blocks[-1][2] * block[3] >= block[2] * blocks[-1][3]:
            low, _, yes, count = blocks.pop()
            block = (low, block[1], yes + block[2], count + block[3])
        blocks.append(block)
    between = [(before[1] + after[0]) / 2 for before, after in itertools.pairwise(blocks)]
    return IsotonicMap((blocks[0][0], *between), tuple(yes / count for _, _, yes, count in blocks))


def temperature(scores: Sequence[float], labels: Sequence[bool]) -> TemperatureMap:
    """Return the temperature at which the labels are likeliest, within exp(±4)."""
    from scipy.optimize import minimize_scalar

    odds = np.array([_log_odds(score) for score in scores])
    # The log-odds of what is the case; a row costs log(1 + exp(−log-odds / temperature)).
    signed = np.where(labels, odds, -odds)

    def cost(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed * math.exp(-log_temperature)).mean())

    found = minimize_scalar(cost, bounds=_LOG_TEMPERATURES, method="bounded")
    return TemperatureMap(math.exp(found.x))


def _log_odds(score: float) -> float:
    inside = min(max(score, _NEAREST), 1 - _NEAREST)
    return math.log(inside / (1 - inside))


def wilson(hits: float, count: int) -> Measure:
    """hits / count with its 95 % interval; (0, 0, 1) where nothing was counted."""
    if not count:
        return Measure(0.0, 0.0, 1.0)
    low, high = wilson_interval(hits / count, count, _Z)
    return Measure(hits / count, low if hits else 0.0, high if hits < count else 1.0)


def _thresholds(scores: Sequence[float], labels: Sequence[bool]) -> Iterator[tuple[float, int, int]]:
    """(threshold, true among those that reach it, how many reach it) between any two scores, and at the least."""
    hits = said = 0
    ordered = sorted(zip(scores, labels, strict=True), reverse=True)
    for (score, label), (following, _) in itertools.pairwise([*ordered, (-math.inf, False)]):
        hits, said = hits + label, said + 1
        if following < score:
            yield (score if following == -math.inf else (score + following) / 2), hits, said


def _reaches(each: tuple[float, int, int], target: Target, positives: int) -> bool:
    _, hits, said = each
    if target.aim == "precision":
        return hits / said >= target.at_least
    return target.aim == "f1" or hits / positives >= target.at_least


def _worth(each: tuple[float, int, int], target: Target, positives: int) -> tuple[float, float]:
    threshold, hits, said = each
    if target.aim == "f1":
        return 2 * hits / (said + positives), threshold
    return (hits / positives, threshold) if target.aim == "precision" else (hits / said, threshold)

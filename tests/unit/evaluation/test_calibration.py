"""Scores → probabilities and thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.evaluation.calibration import IsotonicMap, Target, TemperatureMap, fit, isotonic, temperature, wilson
from vqa_ray.evaluation.reliability import calibration_error

SAMPLES = st.lists(st.tuples(st.integers(0, 12).map(lambda n: n / 12), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: 0 < sum(label for _, label in pairs) < len(pairs)
)
TARGETS = st.sampled_from([Target("f1"), Target("precision", 0.7), Target("recall", 0.8), Target("recall", 1.0)])


def squares(probabilities: list[float], labels: list[bool]) -> float:
    return float(np.square(np.subtract(probabilities, labels)).sum())


def test_steps_of_a_small_sample() -> None:
    steps = isotonic([0.1, 0.2, 0.3, 0.4, 0.4, 0.9], [False, True, False, True, False, True])
    assert steps.probabilities == pytest.approx((0.0, 0.5, 1.0))
    assert steps.starts == pytest.approx((0.1, 0.15, 0.65))
    assert [steps(score) for score in (0.0, 0.12, 0.16, 0.6, 0.66, 1.0)] == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]


@given(SAMPLES)
def test_no_other_non_decreasing_map_is_nearer(sample: list[tuple[float, bool]]) -> None:
    """Against the best of the maps that cut the scores into steps at any two places."""
    scores, labels = map(list, zip(*sample, strict=True))
    steps = isotonic(scores, labels)
    assert list(steps.probabilities) == sorted(set(steps.probabilities))
    assert list(steps.starts) == sorted(steps.starts)
    ours = squares([steps(score) for score in scores], labels)
    levels = sorted(set(scores))
    for first in levels:
        for second in levels:
            side = [(score >= first) + (score >= second) for score in scores]
            means = [
                np.mean([label for s, label in zip(side, labels, strict=True) if s == k] or [k / 2]) for k in range(3)
            ]
            if means == sorted(means):
                assert ours <= squares([means[s] for s in side], labels) + 1e-9


@given(SAMPLES, TARGETS)
def test_a_threshold_has_what_it_was_chosen_for(sample: list[tuple[float, bool]], target: Target) -> None:
    scores, labels = map(list, zip(*sample, strict=True))
    precisions = [np.mean([label for score, label in sample if score >= cut]) for cut in scores]
    if target.aim == "precision" and max(precisions) < target.at_least:
        with pytest.raises(ValueError, match=r"no threshold has precision 0\.7; the best has precision 0\."):
            fit(scores, labels, target)
        return
    fitted = fit(scores, labels, target)
    said = [label for score, label in sample if score >= fitted.threshold]
    assert fitted.precision.value == pytest.approx(sum(said) / len(said))
    assert fitted.recall.value == pytest.approx(sum(said) / sum(labels))
    wanted = {"precision": fitted.precision.value, "recall": fitted.recall.value, "f1": 1.0}[target.aim]
    assert wanted >= target.at_least


def test_targets_choose_as_they_say() -> None:
    rng = np.random.default_rng(7)
    labels = rng.random(4_000) < 0.3
    scores = np.clip(rng.normal(0.35 + 0.3 * labels, 0.15), 0, 1)
    sample = [float(score) for score in scores], [bool(label) for label in labels]
    careful, eager, balanced = (
        fit(*sample, target) for target in (Target("precision", 0.95), Target("recall", 0.95), Target("f1"))
    )
    assert careful.threshold > balanced.threshold > eager.threshold
    assert careful.precision.value >= 0.95
    assert eager.recall.value >= 0.95
    assert balanced.f1 > max(careful.f1, eager.f1)
    assert careful.precision.value < 0.955
    assert careful.precision.low < 0.95 < careful.precision.high
    probabilities = np.array([balanced.probability(score) for score in scores])
    for low in (0.1, 0.4, 0.7):
        chosen = (probabilities >= low) & (probabilities < low + 0.2)
        assert labels[chosen].mean() == pytest.approx(probabilities[chosen].mean(), abs=1e-9 + 0.05)


def test_intervals_are_wilsons() -> None:
    # Brown, Cai, DasGupta 2001 discuss these; the values follow from the formula.
    measure = wilson(8, 10)
    assert (measure.value, measure.low, measure.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert wilson(10, 10).high == 1.0
    assert wilson(0, 10).low == 0.0
    assert wilson(0, 0) == wilson(0, 0)
    assert IsotonicMap((0.2,), (0.4,))(0.0) == 0.4


@pytest.mark.parametrize("labels", [[True, True], [False, False]])
def test_labels_of_one_kind_are_refused(labels: list[bool]) -> None:
    with pytest.raises(ValueError, match=r"is right in . of 2 rows; expected in some and not in others"):
        fit([0.1, 0.2], labels, Target("f1"))


@given(st.floats(0.3, 3), st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_a_temperature_is_found_again(wanted: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 2, 20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-odds / wanted))
    scores = 1 / (1 + np.exp(-odds))
    found = temperature([float(score) for score in scores], [bool(label) for label in labels])
    assert found.temperature == pytest.approx(wanted, rel=0.1)
    assert calibration_error([found(score) for score in scores], labels) < 0.02


def test_a_temperature_keeps_the_order_and_its_limits() -> None:
    for sure in (temperature([0.2, 0.8], [False, True]), TemperatureMap(0.01)):
        found = [sure(score) for score in (0.0, 0.2, 0.5, 0.8, 1.0)]
        assert found == sorted(found)
        assert (found[0], found[2], found[-1]) == pytest.approx((0, 0.5, 1), abs=1e-6)


def test_a_fit_has_the_map_of_its_method() -> None:
    sample = [0.1, 0.2, 0.3, 0.4], [False, True, False, True]
    steps, single = fit(*sample, Target("f1")), fit(*sample, Target("f1"), "temperature")
    assert isinstance(steps.probability, IsotonicMap)
    assert isinstance(single.probability, TemperatureMap)
    assert (steps.threshold, steps.precision) == (single.threshold, single.precision)

"""Intervals of means and of other measures on rows that come in clusters: they cover the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from vqa_ray.evaluation import bootstrap
from vqa_ray.evaluation.bootstrap import bootstrap_intervals
from vqa_ray.evaluation.clustered_mean import clustered_mean
from vqa_ray.evaluation.power import rows_for_difference, rows_for_interval
from vqa_ray.evaluation.protocol import JudgedRows, Outcome
from vqa_ray.evaluation.protocols.pope import Pope
from vqa_ray.evaluation.student_t import t_quantile

SIMULATIONS = 1000
Labels = npt.NDArray[np.str_]


def scores(
    random: np.random.Generator, clusters: int, mean: float, alike: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Right or wrong answers about images of 1 to 8 questions, each image with a difficulty of its own."""
    image = np.repeat(np.arange(clusters), random.integers(1, 9, clusters))
    difficulty = random.beta(mean / alike, (1 - mean) / alike, clusters)
    return (random.random(len(image)) < difficulty[image]).astype(float), image


@pytest.mark.parametrize(
    ("clusters", "mean", "alike"), [(40, 0.7, 1.0), (40, 0.5, 0.05), (150, 0.9, 1.0), (150, 0.7, 0.05), (10, 0.5, 1.0)]
)
def test_means_are_covered(clusters: int, mean: float, alike: float) -> None:
    random = np.random.default_rng(1)
    found = [clustered_mean(*scores(random, clusters, mean, alike)) for _ in range(SIMULATIONS)]
    covered = sum(each.low <= mean <= each.high for each in found) / SIMULATIONS
    assert 0.93 <= covered <= 0.97


def test_rows_of_an_image_are_not_taken_for_independent() -> None:
    """Of rows that are all alike in an image, the images count."""
    right = np.repeat([1.0, 0.0, 1.0, 1.0], 25)
    alone = clustered_mean(right, np.arange(100))
    together = clustered_mean(right, np.repeat(np.arange(4), 25))
    assert together.high - together.low > 3 * (alone.high - alone.low)
    assert together.design_effect == pytest.approx(25 * 4 / 3)
    assert alone.design_effect == pytest.approx(100 / 99)


def test_all_right_is_not_surely_all_right() -> None:
    found = clustered_mean(np.ones(30), np.arange(30))
    assert found.high == 1.0
    assert 0.8 < found.low < 0.9


def test_one_image_gives_no_interval() -> None:
    assert math.isnan(clustered_mean(np.ones(3), np.zeros(3, int)).low)


def rows(said: Labels, true: Labels, split: Labels | None = None) -> JudgedRows:
    outcome = np.full(len(said), Outcome.JUDGED)
    groups = {"split": np.full(len(said), None, object) if split is None else split.astype(object)}
    score = (said == true).astype(float)
    return JudgedRows(score, outcome, said.astype(object), true.astype(object), groups, {})


def answers(random: np.random.Generator, clusters: int) -> tuple[JudgedRows, npt.NDArray[np.int64]]:
    """Yes and no, right more often in some images than in others."""
    image = np.repeat(np.arange(clusters), 4)
    right = random.random(len(image)) < random.beta(8, 2, clusters)[image]
    true = random.random(len(image)) < 0.4
    words = np.array(["no", "yes"])
    return rows(words[(true == right).astype(int)], words[true.astype(int)]), image


def test_f1_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)
    random, pope = np.random.default_rng(3), Pope()
    many, _ = answers(random, 100_000)
    truth = pope.measures(many, np.ones(len(many)))["f1"]
    covered = 0
    for seed in range(SIMULATIONS):
        low, high = bootstrap_intervals(pope, *answers(random, 120), seed)[0]["f1"]
        covered += low <= truth <= high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


def test_equal_rows_are_resampled_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows are judged one by one, the intervals are those of the rows as they are, from the same draws."""
    random, pope = np.random.default_rng(4), Pope()
    sample = answers(random, 50)
    collapsed = bootstrap_intervals(pope, *sample, 7)
    monkeypatch.setattr(Pope, "units", ("split",))
    assert bootstrap_intervals(pope, *sample, 7)[0]["f1"] == pytest.approx(collapsed[0]["f1"])
    assert collapsed[1] == 1000


def test_labels_needed() -> None:
    """The textbook's numbers: 9,604 for ± 1 point at a half, and 1,570 of each model for a difference of 5 points."""
    assert rows_for_interval(0.01, 0.25, 1.0) == 9604
    assert rows_for_interval(0.02, 0.25, 1.5) == 3602
    assert rows_for_difference(0.05, 0.5, 1.0) == 1570


@pytest.mark.parametrize(("degrees", "expected"), [(1, 12.7062), (2, 4.30265), (5, 2.57058), (30, 2.04227)])
def test_quantiles_of_students_t(degrees: int, expected: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(expected, rel=2e-4)


def test_a_ratio_at_its_limit_has_an_interval_that_its_rows_allow() -> None:
    """Of 20 images all right, with 5 that are yes, precision is of 5 images and accuracy of 20."""
    said = np.array(["yes"] * 5 + ["no"] * 15)
    found, _ = bootstrap_intervals(Pope(), rows(said, said), np.arange(20), 0)
    assert found["precision"] == found["recall"] == found["f1"]
    low, high = found["precision"]
    assert (low, high) == (pytest.approx(0.393, abs=0.01), 1.0)
    assert found["accuracy"][0] == pytest.approx(clustered_mean(np.ones(20), np.arange(20)).low)
    never = bootstrap_intervals(Pope(), rows(np.array(["no"] * 20), said), np.arange(20), 0)[0]
    assert never["recall"] == (0.0, pytest.approx(1 - low))

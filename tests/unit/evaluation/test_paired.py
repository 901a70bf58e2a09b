"""Intervals of differences on the same rows."""

from __future__ import annotations

import numpy as np
import pytest

from vqa_ray.evaluation.paired import paired_bootstrap, paired_mean_interval
from vqa_ray.evaluation.protocol import JudgedRows
from vqa_ray.evaluation.registry import protocol


def yes_no(said: np.ndarray, true: np.ndarray) -> JudgedRows:
    words = np.array(["no", "yes"], object)
    return JudgedRows(
        (said == true).astype(float), np.full(len(said), "judged"), words[said * 1], words[true * 1], {}, {}
    )


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    from scipy.stats import ttest_1samp

    differences = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 50, p=[0.1, 0.6, 0.3])
    found, stock = paired_mean_interval(differences, np.arange(50)), ttest_1samp(differences, 0)
    limits = stock.confidence_interval()
    assert (found.low, found.high, found.p_value) == pytest.approx((limits.low, limits.high, stock.pvalue))


def test_intervals_cover_the_true_difference() -> None:
    """Three questions an image, whose answers go together; the second model is right more often."""
    rng, covered, trials = np.random.default_rng(2), 0, 600
    for _ in range(trials):
        ease = rng.normal(0, 1, 80)[:, None]
        scores = [(ease + lift + rng.normal(0, 1, (80, 3)) > 0).astype(float) for lift in (0.0, 0.3)]
        found = paired_mean_interval((scores[1] - scores[0]).ravel(), np.repeat(np.arange(80), 3))
        # Φ(0.3 / √2) − ½.
        covered += found.low < 0.08400 < found.high
    assert 0.93 < covered / trials < 0.97


@pytest.mark.parametrize(("difference", "p_value"), [(0.0, 1.0), (1.0, 2 * 0.5**20)])
def test_rows_that_all_agree_leave_doubt(difference: float, p_value: float) -> None:
    found = paired_mean_interval(np.full(20, difference), np.arange(20))
    # None of 20 seen, with 2.5 % on each side.
    reach = 1 - 0.025 ** (1 / 20)
    assert (found.low, found.high) == pytest.approx((difference - reach, min(1.0, difference + reach)))
    assert found.p_value == pytest.approx(p_value)


def test_one_image_alone_has_no_interval() -> None:
    assert np.isnan(paired_mean_interval(np.array([0.0, 1.0]), np.zeros(2, int)).low)


def test_the_same_images_are_drawn_for_both() -> None:
    rng = np.random.default_rng(4)
    true = rng.random(400) < 0.5
    first = np.where(rng.random(400) < 0.8, true, ~true)
    second = np.where(rng.random(400) < 0.05, ~first, first)
    pope, clusters = protocol("pope"), np.arange(400) // 4
    intervals, resamples = paired_bootstrap(pope, yes_no(first, true), yes_no(second, true), clusters, seed=0)
    assert resamples == 1000
    weight = np.ones(400)
    gain = pope.measures(yes_no(second, true), weight)["f1"] - pope.measures(yes_no(first, true), weight)["f1"]
    f1 = intervals["f1"]
    assert f1.low < gain < f1.high
    # Drawn apart, the difference of two F1 of 0.8 would be known to ± 0.055.
    assert f1.high - f1.low < 0.06
    same, _ = paired_bootstrap(pope, yes_no(first, true), yes_no(first, true), clusters, seed=0)
    assert (same["f1"].low, same["f1"].high, same["f1"].p_value) == (0.0, 0.0, 1.0)

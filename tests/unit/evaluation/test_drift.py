"""Distances of values and scores, and the part of chance."""

from __future__ import annotations

import numpy as np
import pytest

from vqa_ray.evaluation.drift import (
    Counts,
    jensen_shannon,
    jensen_shannon_noise,
    kolmogorov_smirnov,
    kolmogorov_smirnov_noise,
    noise_limit,
)
from vqa_ray.evaluation.significance import holm, mcnemar


def test_counts_of_pairs() -> None:
    counts = Counts.of({("red", "red"): 5, ("red", "blue"): 2, ("blue", None): 1, (None, "grey"): 3})
    assert counts.values == ["red", "blue", "grey"]
    assert counts.first.tolist() == [7, 1, 0]
    assert counts.second.tolist() == [5, 2, 3]
    assert (counts.both, counts.flipped) == (7, 2)


def test_the_jensen_shannon_distance() -> None:
    assert jensen_shannon([3, 1], [6, 2]) == 0
    assert jensen_shannon([3, 0], [0, 1]) == 1
    # Half of the rows move to a new value: divergence of (1, 0) and (½, ½) is H(¾, ¼) − ½.
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert jensen_shannon([4, 0], [2, 2]) == pytest.approx(np.sqrt(entropy - 0.5))
    assert jensen_shannon([[1, 0], [0, 0]], [[1, 0], [1, 1]]).tolist() == [0, 0]


@pytest.mark.parametrize("paired", [True, False])
def test_noise_is_exceeded_once_in_twenty_times(paired: bool) -> None:
    """Rows drawn from the same distribution for both sides."""
    rng, exceeded, trials = np.random.default_rng(3), 0, 300
    for _ in range(trials):
        values = [str(value) for value in rng.integers(0, 4, 120)]
        # A model that reads one row in three anew.
        others = [value if rng.random() < 0.66 else str(rng.integers(0, 4)) for value in values]
        pairs: dict[tuple[str | None, str | None], int] = {}
        for one, two in zip(values, others if paired else rng.permutation(others), strict=True):
            for pair in [(one, two)] if paired else [(one, None), (None, str(rng.integers(0, 4)))]:
                pairs[pair] = pairs.get(pair, 0) + 1
        counts = Counts.of(pairs)
        noise = noise_limit(jensen_shannon_noise(pairs, 200, rng))
        exceeded += float(jensen_shannon(counts.first, counts.second)) > noise
    assert 0.02 < exceeded / trials < 0.09


def test_equal_rows_have_no_noise() -> None:
    assert jensen_shannon_noise({("a", "a"): 10, ("b", "b"): 2}, 5, np.random.default_rng(0)).tolist() == [0] * 5


def test_the_kolmogorov_smirnov_distance() -> None:
    assert kolmogorov_smirnov([2, 0, 2], [1, 0, 1]) == 0
    assert kolmogorov_smirnov([4, 0], [0, 1]) == 1
    assert kolmogorov_smirnov([2, 2], [3, 1]) == 0.25
    assert kolmogorov_smirnov([0, 0], [3, 1]) == 0
    # 1.358 · √(2 / n), Smirnov 1948.
    assert kolmogorov_smirnov_noise(100, 100) == pytest.approx(0.192, abs=1e-3)


def test_mcnemar_is_exact() -> None:
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0
    # 2 · (1 + 10) / 2¹⁰.
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(22 / 1024)
    assert mcnemar(400_000, 402_000) == pytest.approx(0.0256, abs=1e-3)


def test_holm_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []

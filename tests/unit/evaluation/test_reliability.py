"""Calibration error, reliability diagram, risk–coverage curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.evaluation.reliability import calibration_error, reliability

ROWS = st.lists(st.tuples(st.integers(0, 40).map(lambda n: n / 40), st.sampled_from([0.0, 0.3, 1.0])), min_size=1)


def test_ten_rows_by_hand() -> None:
    found = reliability([0.95] * 5 + [0.2] * 5, [1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    assert found.equal_width.error == pytest.approx(0.5 * 0.35 + 0.5 * 0.0)
    low, high = found.equal_width.bins
    assert (low.n, low.confidence, low.accuracy) == (5, pytest.approx(0.2), pytest.approx(0.2))
    assert (high.low, high.high) == pytest.approx((14 / 15, 1.0))
    assert (high.accuracy, high.accuracy_low, high.accuracy_high) == pytest.approx((0.6, 0.2307, 0.8824), abs=1e-4)
    # Five rows with risk 0.4 each on the way, then 4/6 … 6/10 of the expected wrong ones.
    risks = [0.4] * 5 + [(2 + 0.8 * more) / (5 + more) for more in range(1, 6)]
    assert found.risk_coverage.risk == pytest.approx(risks)
    assert found.risk_coverage.area == pytest.approx(np.mean(risks))
    assert found.risk_coverage.coverage[-1] == 1.0


@given(ROWS)
def test_bins_hold_every_row_in_any_order(rows: list[tuple[float, float]]) -> None:
    scores, credits = np.array(rows).T
    found, reverse = reliability(scores, credits), reliability(scores[::-1], credits[::-1])
    assert found.risk_coverage.risk == pytest.approx(reverse.risk_coverage.risk)
    assert found.risk_coverage.risk[-1] == pytest.approx(1 - credits.mean())
    assert sum(found.histogram.right) == pytest.approx(credits.sum())
    for binned in (found.equal_width, found.equal_mass):
        assert sum(each.n for each in binned.bins) == len(rows) == found.n
        assert 0 <= binned.error <= 1
        assert all(each.accuracy_low <= each.accuracy <= each.accuracy_high for each in binned.bins)
    assert calibration_error(scores, credits) == found.equal_width.error
    # A mean over any bins is at least the distance of the two means.
    assert found.equal_mass.error >= abs(scores.mean() - credits.mean()) - 1e-9


def test_scores_that_are_right_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    right = rng.random(200_000) < scores
    found = reliability(scores, right)
    assert found.equal_width.error < 0.01
    assert found.equal_mass.error < 0.01
    assert max(each.n for each in found.equal_mass.bins) < 200_000 / 15 * 1.1
    # The integral of the risk (1 − c) / 2 … over coverage c: mean of 1 − (1 − c / 2) = c / 2.
    assert found.risk_coverage.area == pytest.approx(0.25, abs=0.01)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="must be finite numbers, one at least; given are 0"):
        reliability([], [])
    with pytest.raises(ValueError, match="given are 2"):
        reliability([0.5, float("nan")], [1, 0])

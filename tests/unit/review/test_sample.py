"""The sample of a review: of the size that is wanted, reproducible, and with the probabilities that it states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from vqa_ray.review.sample import STRATEGIES, Strategy, draw, inclusion_probabilities

RARE = np.array(["frequent"] * 90 + ["rare"] * 10)
SCORES = np.linspace(0.01, 1, 100)


@given(st_numpy.arrays(np.float64, st.integers(1, 60), elements=st.floats(0.01, 100)), st.integers(1, 80))
def test_probabilities_add_up_and_follow_the_weights(weights: np.ndarray, size: int) -> None:
    found = inclusion_probabilities(weights, size)
    assert found.sum() == pytest.approx(min(size, len(weights)))
    assert (found > 0).all()
    assert (found <= 1 + 1e-9).all()
    order = np.argsort(weights)
    assert (np.diff(found[order]) >= -1e-9).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_sample_has_its_size_and_its_seed(strategy: Strategy) -> None:
    found = draw(strategy, 20, 7, RARE, SCORES)
    assert len(set(found.items.tolist())) == 20
    again = draw(strategy, 20, 7, RARE, SCORES)
    assert found.items.tolist() == again.items.tolist()
    assert draw(strategy, 20, 8, RARE, SCORES).items.tolist() != found.items.tolist()
    assert sorted(draw(strategy, 500, 7, RARE, SCORES).items.tolist()) == list(range(100))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_items_are_drawn_as_often_as_their_probability_says(strategy: Strategy) -> None:
    drawn, stated = np.zeros(100), np.full(100, np.nan)
    for seed in range(3000):
        found = draw(strategy, 20, seed, RARE, SCORES)
        drawn[found.items] += 1
        stated[found.items] = found.probability
    # Four standard deviations of a share.
    reach = 4 * np.sqrt(stated * (1 - stated) / 3000) + 1e-9
    assert (np.abs(drawn / 3000 - stated) <= reach).all()
    # What is weighted by 1/probability counts every item once (Horvitz and Thompson 1952).
    assert np.sum(drawn / 3000 / stated) == pytest.approx(100, rel=0.02)


def test_rare_strata_are_as_frequent_as_others() -> None:
    for seed in range(20):
        items = draw("stratified", 16, seed, RARE, SCORES).items
        assert (RARE[items] == "rare").sum() == 8
    found = draw("stratified", 40, 0, RARE, SCORES)
    assert (RARE[found.items] == "rare").sum() == 10
    assert set(found.probability[RARE[found.items] == "rare"]) == {1.0}


def test_the_unsure_are_drawn_more_often_and_the_sure_still_are() -> None:
    found = draw("uncertain", 100, 0, RARE, np.repeat([0.1, 1.0], 50)[: len(RARE)])
    assert len(found.items) == 100
    half = draw("uncertain", 50, 0, RARE, np.repeat([0.1, 1.0], 50))
    unsure = half.probability[half.items < 50]
    sure = half.probability[half.items >= 50]
    assert unsure.min() > 0.9
    assert 0 < sure.max() < 0.1


def test_no_score_is_as_unsure_as_can_be() -> None:
    found = draw("uncertain", 99, 0, RARE, np.where(np.arange(100) == 3, np.nan, 0.5))
    assert found.probability[found.items == 3] == pytest.approx(1.0)

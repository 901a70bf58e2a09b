"""Recall at k against one that sorts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.evaluation.recall import ranks_of_right, recall_at


def offsets_of(right: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    flat = np.array([place for places in right for place in places], np.int64)
    return flat, np.concatenate([[0], np.cumsum([len(places) for places in right])]).astype(np.int64)


@settings(deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 8))
def test_equals_sorting(data: st.DataObject, queries: int, candidates: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    # Few values, so that many scores are equal.
    asked = rng.integers(-1, 2, (queries, 3)).astype(np.float32)
    there = rng.integers(-1, 2, (candidates, 3)).astype(np.float32)
    right = [data.draw(st.lists(st.integers(0, candidates - 1), min_size=1, unique=True)) for _ in range(queries)]
    found = ranks_of_right(asked, there, *offsets_of(right))
    for query, places, rank in zip(asked, right, found, strict=True):
        scores = there @ query
        wrong = [scores[place] for place in range(candidates) if place not in places]
        # Sorted with what is wrong before what scores the same and is right.
        assert rank == sum(score >= max(scores[places]) for score in wrong)


def test_more_queries_than_go_at_once() -> None:
    vectors = np.eye(700, dtype=np.float32)
    assert not ranks_of_right(vectors, vectors, np.arange(700), np.arange(701)).any()


def test_vectors_that_are_all_the_same_find_nothing() -> None:
    same = np.ones((12, 4), np.float32)
    ranks = ranks_of_right(same, same, np.arange(12), np.arange(13))
    assert recall_at(ranks, (1, 10)) == {1: 0.0, 10: 0.0}


def test_recall_counts_the_first_k() -> None:
    assert recall_at(np.array([0, 4, 5, 10]), (1, 5, 10)) == {1: 0.25, 5: 0.5, 10: 0.75}


def test_a_query_without_anything_right_is_refused() -> None:
    with pytest.raises(ValueError, match="no right candidate"):
        ranks_of_right(np.ones((2, 1), np.float32), np.ones((1, 1), np.float32), np.array([0]), np.array([0, 1, 1]))

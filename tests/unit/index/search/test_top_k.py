"""The best of many: a total order, the same however the rows are cut into shards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.index.search.top_k import Best, merge, top_k

# Few distinct scores and ids, so that ties are the rule; and what a broken model may give.
SCORES = st.sampled_from([-1.0, -0.0, 0.0, 0.25, 0.5, float("nan"), float("inf"), float("-inf")]) | st.floats(width=32)


@st.composite
def rows(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    count = draw(st.integers(0, 40))
    scores = draw(st.lists(SCORES, min_size=count, max_size=count))
    ids = draw(st.lists(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count))
    return np.array(scores, np.float32), np.array(ids, np.int64)


def by_hand(scores: npt.NDArray[np.float32], ids: npt.NDArray[np.int64], k: int) -> list[int]:
    known = [place for place in range(len(scores)) if scores[place] == scores[place]]
    return sorted(known, key=lambda place: (-float(scores[place]), int(ids[place]), place))[:k]


def same(one: Best, other: Best) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@given(rows(), st.integers(1, 50))
def test_the_best_are_those_of_sorting_everything(
    given_rows: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]], k: int
) -> None:
    scores, ids = given_rows
    best = top_k(scores, ids, k)
    assert best.positions.tolist() == by_hand(scores, ids, k)
    assert not np.isnan(best.scores).any()
    assert np.array_equal(best.scores, scores[best.positions])
    assert np.array_equal(best.ids, ids[best.positions])


@given(rows(), st.integers(1, 50), st.data())
def test_the_best_of_the_shards_merged_are_the_best_of_all(
    given_rows: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]], k: int, data: st.DataObject
) -> None:
    scores, ids = given_rows
    shard_of = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(ids), max_size=len(ids))), np.int64)
    shards = [np.flatnonzero(shard_of == shard) for shard in range(5)]
    parts = [top_k(scores[shard], ids[shard], k, shard) for shard in shards]
    assert same(merge(data.draw(st.permutations(parts)), k), top_k(scores, ids, k))


def test_nothing_has_no_best() -> None:
    best = top_k(np.empty(0, np.float32), np.empty(0, np.int64), 3)
    assert [len(column) for column in best] == [0, 0, 0]
    assert [column.dtype for column in merge((), 3)] == [np.float32, np.int64, np.int64]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="the best 0 rows: at least 1 is needed"):
        top_k(np.zeros(2, np.float32), np.zeros(2, np.int64), 0)
    with pytest.raises(ValueError, match="2 scores, 3 ids and 2 positions"):
        top_k(np.zeros(2, np.float32), np.zeros(3, np.int64), 1)

"""Whether ranges of source_keys hold exactly the keys that they were made from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.keys import NOTHING, between, ranges_of, size, within

KEYS = st.lists(st.integers(0, 60), max_size=40)
ALL = np.arange(-2, 64, dtype=np.int64)


@given(KEYS)
def test_ranges_hold_their_keys_and_no_others(keys: list[int]) -> None:
    ranges = ranges_of(np.array(keys, np.int64))
    assert ALL[within(ALL, ranges)].tolist() == sorted(set(keys))
    assert size(ranges) == len(set(keys))


@given(KEYS, st.integers(0, 60), st.integers(1, 60))
def test_between_cuts(keys: list[int], first: int, length: int) -> None:
    part = between(ranges_of(np.array(keys, np.int64)), first, first + length)
    assert ALL[within(ALL, part)].tolist() == sorted({key for key in keys if first <= key < first + length})


def test_rows_that_follow_each_other_are_one_range() -> None:
    assert ranges_of(np.array([3, 1, 2, 9], np.int64)).tolist() == [[1, 3], [9, 9]]
    assert size(NOTHING) == 0

"""Whether the check of a finished output sees what is missing and what is double."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.runs.completeness import integrity_errors, repeated
from vqa_ray.schema import ROW_BITS

SHARDS = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def keys_of(rows_of_shard: list[int]) -> np.ndarray:
    return np.array(
        [shard << ROW_BITS | row for shard, rows in enumerate(rows_of_shard) for row in range(rows)], np.int64
    )


@given(SHARDS, st.randoms())
def test_whole_output_in_any_order_has_no_findings(shards: list[int], random) -> None:
    keys = keys_of(shards).tolist()
    random.shuffle(keys)
    assert integrity_errors(np.array(keys, np.int64), dict(enumerate(shards))) == []


@given(SHARDS.filter(lambda shards: sum(shards) > 0), st.data())
def test_one_lost_row_is_found(shards: list[int], data) -> None:
    keys = keys_of(shards)
    lost = data.draw(st.integers(0, len(keys) - 1))
    assert integrity_errors(np.delete(keys, lost), dict(enumerate(shards)))


@given(SHARDS.filter(lambda shards: sum(shards) > 0), st.data())
def test_one_doubled_row_is_found(shards: list[int], data) -> None:
    keys = keys_of(shards)
    twice = data.draw(st.sampled_from(keys.tolist()))
    (finding,) = integrity_errors(np.append(keys, twice), dict(enumerate(shards)))
    assert finding.startswith("1 rows were written more than once")


def test_hole_is_named_without_a_known_total() -> None:
    keys = np.array([0, 1, 3, 5 << ROW_BITS], np.int64)
    assert integrity_errors(keys) == ["rows are missing: shard 0 ends at row 3 but has 3 rows"]


def test_known_rows_are_compared() -> None:
    assert integrity_errors(keys_of([2]), {0: 3}) == ["rows are missing: shard 0 has 2 of 3 rows"]
    assert integrity_errors(keys_of([2]), {0: 2, 1: 1}) == ["rows are missing: shard 1 has 0 of 1 rows"]
    assert integrity_errors(np.empty(0, np.int64), {0: 0}) == []


def test_damaged_shard_ends_early_with_a_row_that_tells() -> None:
    keys = keys_of([3, 4])
    last, other = np.array([2], np.int64), np.array([1], np.int64)
    assert integrity_errors(keys, {0: 9, 1: 4}, malformed=last) == []
    assert integrity_errors(keys, {0: 9, 1: 4}, malformed=other) == ["rows are missing: shard 0 has 3 of 9 rows"]


def test_repeated_counts_every_row_of_a_group() -> None:
    assert repeated(np.array([5, 1, 5, 2, 5, 1], np.int64)) == 5
    assert repeated(np.array([1, 2, 3], np.int64)) == 0
    assert repeated(np.array([], np.int64)) == 0

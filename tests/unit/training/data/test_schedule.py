from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.errors import RequestError
from vqa_ray.readers.source import ColumnMap, InputConfig, Shard, Source
from vqa_ray.schema import ROW_BITS
from vqa_ray.training.data.schedule import RowSchedule, ScheduleConfig, ScheduledRows, evaluation_parts, window_rows
from vqa_ray.training.data.targets import Targets


def keys_of(sizes: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Shard i has `sizes[i]` rows; every other row number is left out, as after a split."""
    parts = [(index << ROW_BITS) + 2 * np.arange(size) for index, size in enumerate(sizes)]
    return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)


def one_target_each(count: int) -> Targets:
    """Row i has one target, of the weight 1 / (i + 1)."""
    return Targets(
        np.arange(count + 1), np.arange(count, dtype=np.int32), (1 / np.arange(1, count + 1)).astype(np.float32)
    )


def plan_of(sizes: list[int], batch_size: int = 8, window: int = 20, seed: int = 0) -> RowSchedule:
    keys = keys_of(sizes)
    return RowSchedule(keys, one_target_each(len(keys)), ScheduleConfig(batch_size, seed, window))


def joined(parts: list[ScheduledRows]) -> list[tuple[int, int, int, float]]:
    """(key, step, label, weight) of each row of the parts, in order."""
    rows = []
    for part in parts:
        assert part.targets.offsets.tolist() == list(range(len(part) + 1))
        labels = (part.targets.ids.tolist(), part.targets.weights.tolist())
        rows += list(zip(part.keys.tolist(), part.steps.tolist(), *labels, strict=True))
    return rows


plans = st.builds(
    plan_of,
    st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any),
    st.integers(1, 40),
    st.integers(1, 80),
    st.integers(0, 2**40),
)


@settings(deadline=None)
@given(plans, st.integers(0, 5))
def test_every_row_comes_once_an_epoch_in_batches_of_its_own_step(plan: RowSchedule, epoch: int) -> None:
    rows = joined(plan.parts(epoch, epoch * plan.steps_per_epoch))
    assert len({row[0] for row in rows}) == len(rows) == len(plan)
    steps = np.array([row[1] for row in rows]) - epoch * plan.steps_per_epoch
    assert steps.tolist() == (np.arange(len(plan)) // plan.config.batch_size).tolist()
    assert steps[-1] + 1 == plan.steps_per_epoch
    labels = {row[0]: row[2:] for row in rows}
    assert [labels[key] for key in sorted(labels)] == [(i, np.float32(1 / (i + 1))) for i in range(len(plan))]


@settings(deadline=None)
@given(plans, st.integers(0, 3), st.data())
def test_an_epoch_goes_on_in_the_middle_where_it_was_left(plan: RowSchedule, epoch: int, data: st.DataObject) -> None:
    base = epoch * plan.steps_per_epoch
    first = base + data.draw(st.integers(0, plan.steps_per_epoch))
    parts = plan.parts(epoch, first)
    assert joined(parts) == [row for row in joined(plan.parts(epoch, base)) if row[1] >= first]
    assert all(len(part) for part in parts)


@settings(deadline=None)
@given(plans)
def test_windows_hold_so_many_rows_at_most_and_follow_the_stored_order(plan: RowSchedule) -> None:
    read: list[int] = []
    for epoch in range(2):
        for part in [
            *plan.parts(epoch, epoch * plan.steps_per_epoch),
            *plan.parts(epoch, epoch * plan.steps_per_epoch + 1),
        ]:
            assert part.windows.sum() == len(part)
            assert 0 < part.windows.min() <= part.windows.max() <= plan.config.shuffle_rows
            stored = [k for index in part.shards for k in np.sort(part.keys[part.keys >> ROW_BITS == index]).tolist()]
            assert sorted(stored) == sorted(part.keys.tolist())
            begin = 0
            for rows in part.windows.tolist():
                assert sorted(part.keys[begin : begin + rows].tolist()) == sorted(stored[begin : begin + rows])
                begin += rows
        read = [index for part in plan.parts(epoch, 0) for index in part.shards]
        assert len(set(read)) == len(read)


def test_epochs_and_seeds_differ_and_everything_else_does_not() -> None:
    sizes = [30, 7, 50, 12, 1]
    orders = [
        tuple(row[0] for row in joined(plan_of(sizes, seed=seed).parts(epoch))) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert tuple(row[0] for row in joined(plan_of(sizes, seed=1).parts(1))) == orders[3]
    # Neither the batch size nor where a run was broken off changes the order of the rows.
    assert tuple(row[0] for row in joined(plan_of(sizes, batch_size=3, seed=1).parts(1))) == orders[3]


def test_rows_are_mixed_over_a_window_that_holds_all() -> None:
    keys = np.array([row[0] for row in joined(plan_of([500] * 4, window=2_000).parts(0))])
    shards = keys >> ROW_BITS
    for quarter in np.split(shards, 4):
        assert min(np.bincount(quarter, minlength=4)) > 80


def test_rows_without_targets_are_left_out_with_their_classes() -> None:
    targets = Targets(np.array([0, 0, 2, 2, 3]), np.array([4, 5, 6], np.int32), np.array([1, 0.3, 0.6], np.float32))
    classes = np.array([[0], [1], [2], [-1]], np.int32)
    plan = RowSchedule(np.arange(4), targets, ScheduleConfig(1), classes)
    (part,) = plan.parts(0)
    found = {int(key): part.auxiliary[at].tolist() for at, key in enumerate(part.keys)}
    assert found == {1: [1], 3: [-1]}
    assert part.steps.tolist() == [0, 1]
    none = Targets(np.zeros(5, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    with pytest.raises(RequestError, match="none of the 4 rows to train on has an answer that is in the vocabulary"):
        RowSchedule(np.arange(4), none, ScheduleConfig(1))


@settings(deadline=None)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=5))
def test_evaluation_reads_every_row_once_in_stored_order(sizes: list[int]) -> None:
    keys = keys_of(sizes)
    offsets = np.repeat(np.arange(len(keys) // 2 + 1), 2)[: len(keys) + 1]
    count = int(offsets[-1]) if len(offsets) else 0
    targets = Targets(offsets, np.arange(count, dtype=np.int32), np.ones(count, np.float32))
    parts = evaluation_parts(keys, targets)
    assert [key for part in parts for key in part.keys.tolist()] == keys.tolist()
    assert all(not part.steps.any() and part.windows.sum() == len(part) and part.windows.max() <= 64 for part in parts)
    assert [at for part in parts for at in part.targets.ids.tolist()] == list(range(count))


def test_a_million_rows_are_planned_in_less_than_two_seconds() -> None:
    plan = plan_of([2_000] * 500, batch_size=256, window=2_600)
    begun = time.process_time()
    parts = plan.parts(3)
    assert time.process_time() - begun < 2
    assert sum(len(part) for part in parts) == 1_000_000


@pytest.mark.parametrize(
    ("form", "size_bytes", "rows", "expected"),
    [
        ("parquet", 10 * 2**20, 1_000, 6_250),
        ("jsonl", 150_000, 1_000, 165_000),
        ("vqa-v2", 0, 1_000, 262_144),
        ("hf", 0, 1_000, 1_335),
        ("webdataset", 2**40, 10, 1),
    ],
)
def test_a_window_holds_about_64_mib(form: str, size_bytes: int, rows: int, expected: int) -> None:
    shards = (Shard(0, "a", size_bytes=size_bytes),)
    source = Source(InputConfig("a"), form, "a", shards, (), ColumnMap(), None, "", False)  # type: ignore[arg-type]
    assert window_rows(source, rows) == pytest.approx(expected, rel=0.01)

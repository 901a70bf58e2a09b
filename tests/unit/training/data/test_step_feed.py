"""Steps put together from tables that were cut anywhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.tables import SCHEMA, cut_at, failed_row, row_of, table_of
from vqa_ray.errors import RunError
from vqa_ray.training.data.batch import Group, collate_table
from vqa_ray.training.data.step_feed import SkippedRow, StepBatch, StepBatches

SIZES = [(4, 6), (6, 4), (4, 4)]
QUESTIONS = ["what?", "what is this?", "how many are there?"]
A = 5


def tokenize(question: str) -> tuple[int, ...]:
    return tuple(len(word) for word in question.split())


def collate(table: pa.Table, *, pin: bool = False) -> tuple[list[Group], list[SkippedRow]]:
    """Groups of all rows."""
    return [group for _, group in collate_table(table, tokenize, A, pin=pin)], []


def fed(tables: Iterator[pa.Table] | list[pa.Table], steps: range) -> list[StepBatch[Group]]:
    with StepBatches(tables, collate, steps) as feed:
        return list(feed)


def plain(step: StepBatch[Group]) -> Any:
    return step.step, [seen(group) for group in step.groups], step.skipped


def seen(group: Group) -> tuple[Any, ...]:
    tensors = (group.pixels, group.input_ids, group.text_mask, group.targets, group.attributes)
    return tuple(None if tensor is None else (tensor.dtype, tensor.tolist()) for tensor in tensors)


@st.composite
def planned_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    steps = sorted(draw(st.lists(st.integers(3, 8), max_size=14)))
    rows = []
    for key, step in enumerate(steps):
        if draw(st.integers(0, 4)) == 0:
            rows.append(failed_row(key, step))
            continue
        ids = draw(st.lists(st.integers(0, A - 1), unique=True, max_size=3))
        more = {"label_ids": ids, "label_weights": [0.3 * (place + 1) for place in range(len(ids))]}
        question = QUESTIONS[draw(st.integers(0, 2))]
        rows.append(row_of(key, step, SIZES[draw(st.integers(0, 2))], question, auxiliary=[key, -1], **more))
    return rows


@settings(deadline=None, max_examples=60)
@given(planned_rows(), st.lists(st.integers(0, 20), max_size=6))
def test_steps_do_not_depend_on_where_tables_are_cut(rows: list[dict[str, Any]], places: list[int]) -> None:
    steps = range(3, 10)
    whole = fed([table_of(rows)], steps)
    pieces = fed(cut_at(table_of(rows), places), steps)
    assert [plain(step) for step in pieces] == [plain(step) for step in whole]
    assert [step.step for step in whole] == list(steps)
    for step in whole:
        mine = [row for row in rows if row["step"] == step.step]
        assert [row.source_key for row in step.skipped] == [r["source_key"] for r in mine if r["pixels"] is None]
        wanted = {row["source_key"]: row for row in mine if row["pixels"] is not None}
        found = [(group, place) for group in step.groups for place in range(len(group.targets))]
        assert sorted(int(group.attributes[place, 0]) for group, place in found) == sorted(wanted)
        for group, place in found:
            check_row(group, place, wanted[int(group.attributes[place, 0])])


def check_row(group: Group, place: int, row: dict[str, Any]) -> None:
    assert tuple(group.pixels.shape[1:]) == (row["height"], row["width"], 3)
    assert group.pixels[place].numpy().tobytes() == row["pixels"]
    ids = group.input_ids[place]
    real = ids if group.text_mask is None else ids[group.text_mask[place]]
    assert tuple(real.tolist()) == tokenize(row["questions"][0])
    targets = torch.zeros(A)
    targets[torch.tensor(row["label_ids"], dtype=torch.long)] = torch.tensor(row["label_weights"], dtype=torch.float32)
    torch.testing.assert_close(group.targets[place], targets, rtol=0, atol=0)
    assert group.attributes[place].tolist() == row["auxiliary"]


def test_a_group_has_one_size_and_is_ordered_by_length() -> None:
    rows = [row_of(key, 0, SIZES[key % 2], QUESTIONS[(key + 1) % 3]) for key in range(6)]
    (step,) = fed([table_of(rows)], range(1))
    assert [tuple(group.pixels.shape) for group in step.groups] == [(3, 4, 6, 3), (3, 6, 4, 3)]
    for group in step.groups:
        assert group.text_mask is not None
        assert group.text_mask.sum(dim=1).tolist() == [1, 3, 4]
        assert (group.pixels.dtype, group.input_ids.dtype, group.text_mask.dtype, group.targets.dtype) == (
            torch.uint8,
            torch.int64,
            torch.bool,
            torch.float32,
        )
        assert group.attributes.shape == (3, 0)


def test_failed_rows_are_told_and_left_out() -> None:
    rows = [row_of(1, 0), failed_row(2, 0, "image_missing"), failed_row(3, 1)]
    first, second = fed([table_of(rows)], range(2))
    assert [len(group.targets) for group in first.groups] == [1]
    assert first.skipped == [SkippedRow(2, "image_missing", "row 2 is broken")]
    assert second.groups == []
    assert second.skipped == [SkippedRow(3, "image_undecodable", "row 3 is broken")]


def test_rows_that_no_group_holds_are_told_beside_the_failed_ones() -> None:
    too_long = SkippedRow(1, "row_malformed", "too long")

    def without_first(rows: pa.Table) -> tuple[list[Group], list[SkippedRow]]:
        return collate(rows.slice(1))[0], [too_long]

    table = table_of([row_of(1, 0), row_of(2, 0), failed_row(3, 0)])
    with StepBatches([table], without_first, range(1)) as feed:
        (step,) = feed
    assert [len(group.targets) for group in step.groups] == [1]
    assert step.skipped == [SkippedRow(3, "image_undecodable", "row 3 is broken"), too_long]


def test_no_rows_at_all_still_give_every_step() -> None:
    assert [plain(step) for step in fed([], range(4, 6))] == [(4, [], []), (5, [], [])]
    assert fed([SCHEMA.empty_table()], range(2, 2)) == []


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([4, 5, 4], "a row of step 4 came where step 5 or a later one up to 9 was to come (source_key 2)"),
        ([3], "a row of step 3 came where step 4 or a later one up to 9 was to come (source_key 0)"),
        ([4, 10], "a row of step 10 came where step 4 or a later one up to 9 was to come (source_key 1)"),
    ],
)
def test_rows_in_another_order_than_planned_stop_the_training(steps: list[int], told: str) -> None:
    tables = [table_of([row_of(key, step)]) for key, step in enumerate(steps)]
    with pytest.raises(RunError) as caught:
        fed(tables, range(4, 10))
    assert told in str(caught.value)


def test_what_the_source_raises_is_raised_at_its_step() -> None:
    def breaks() -> Iterator[pa.Table]:
        yield table_of([row_of(0, 0), row_of(1, 1)])
        raise OSError("the store is gone")

    with StepBatches(breaks(), collate, range(3)) as feed:
        assert next(feed).step == 0
        with pytest.raises(OSError, match="the store is gone"):
            next(feed)


def test_it_stays_two_steps_ahead_and_stops_when_it_is_closed() -> None:
    read: list[int] = []

    def tables() -> Iterator[pa.Table]:
        for step in range(100):
            read.append(step)
            yield table_of([row_of(step, step)])

    with StepBatches(tables(), collate, range(100)) as feed:
        assert next(feed).step == 0
    # Three steps were asked for, and each ends where a row of the next one comes.
    assert len(read) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_rows_that_no_batch_can_hold_are_refused() -> None:
    with pytest.raises(RunError, match=r"row 7 \(source_key\) has not exactly one question"):
        fed([table_of([row_of(6), {**row_of(7), "questions": ["a", "b"]}])], range(1))
    with pytest.raises(RunError, match="labels 1 to 5 are not of a vocabulary of 5 answers"):
        fed([table_of([row_of(6, label_ids=[1, 5], label_weights=[1.0, 1.0])])], range(1))


def test_pixels_are_not_shared_with_the_table() -> None:
    table = table_of([row_of(0)])
    (step,) = fed([table], range(1))
    before = table["pixels"][0].as_py()
    step.groups[0].pixels.zero_()
    assert table["pixels"][0].as_py() == before
    assert np.frombuffer(before, np.uint8).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_are_pinned_for_cuda() -> None:
    table = table_of([row_of(0, question=QUESTIONS[0]), row_of(1, question=QUESTIONS[1])])
    with StepBatches([table], partial(collate, pin=True), range(1)) as feed:
        (group,) = next(feed).groups
    assert group.text_mask is not None
    tensors = (group.pixels, group.input_ids, group.text_mask, group.targets, group.attributes)
    assert all(tensor.is_pinned() for tensor in tensors if tensor.numel())
    assert seen(group.to(torch.device("cuda"))) == seen(group)

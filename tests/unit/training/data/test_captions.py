"""Which captions a row has, and which of them has its turn."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray import schema
from vqa_ray.training.data.captions import caption_for_epoch, captions_of, with_captions


@pytest.mark.parametrize(
    ("value", "captions"),
    [
        ("a dog", ["a dog"]),
        ("  a dog ", ["a dog"]),
        (["a dog", "a cat"], ["a dog", "a cat"]),
        (["", None, " ", "a cat"], ["a cat"]),
        ("", []),
        (None, []),
        ([], []),
    ],
)
def test_blank_captions_are_none(value: object, captions: list[str]) -> None:
    assert captions_of(value) == captions


@given(st.integers(0, 2**63 - 1), st.integers(1, 7), st.integers(0, 50), st.integers(0, 9))
def test_each_comes_once_before_any_comes_again(key: int, count: int, round_: int, seed: int) -> None:
    turns = [caption_for_epoch(key, count, epoch, seed) for epoch in range(round_ * count, (round_ + 1) * count)]
    assert sorted(turns) == list(range(count))
    assert turns == [
        caption_for_epoch(key, count, epoch, seed) for epoch in range(round_ * count, (round_ + 1) * count)
    ]


def test_rows_do_not_all_begin_with_the_same() -> None:
    assert {caption_for_epoch(key, 4, 0, 0) for key in range(40)} == {0, 1, 2, 3}


def test_captions_stand_where_questions_do() -> None:
    rows = [{"source_key": key, "row_id": key, "status": schema.STATUS_OK} for key in range(2)]
    table = pa.Table.from_pylist(rows, schema.READ).append_column("said", pa.array([["a dog", ""], None]))
    found = with_captions(table, "said")
    assert found.schema.equals(schema.READ)
    assert found["questions"].to_pylist() == [["a dog"], []]

"""SQL conditions on columns: which rows they leave, and what is said of those that are none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from vqa_ray.errors import RequestError
from vqa_ray.index.search.filter import matching

ROWS = pa.table(
    {
        "row_id": [10, 11, 12, 13],
        "category": ["mug", "hat", None, "mug"],
        "price": [1.0, 2.5, 3.0, 9.0],
        "two words": ["a", "b", "c", "it's"],
        "tags": pa.array([["red", "dog"], [], None, ["red"]], pa.list_(pa.string())),
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("category = 'mug'", [0, 3]),
        ("category != 'mug'", [1]),
        ("category is null or price > 5", [2, 3]),
        ("array_has(tags, 'red') and not array_has(tags, 'dog')", [3]),
        ("`two words` in ('b', 'it''s')", [1, 3]),
        ("row_id = 12 -- a comment", [2]),
        ("true", [0, 1, 2, 3]),
        ("price > 100", []),
    ],
)
def test_the_rows_for_which_a_condition_holds(condition: str, rows: list[int]) -> None:
    mask = matching(ROWS, condition)
    assert (mask.dtype, mask.shape) == (np.bool_, (4,))
    assert np.flatnonzero(mask).tolist() == rows


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("colour = 'red'", "no column colour; the columns are row_id, category, price, two words, tags (texts stand"),
        ("category = mug", "no column mug; the columns are row_id"),
        ("category = ", "does not parse: Expected: an expression, found: )"),
        ("", "does not parse: Expected: an expression"),
        ("category = 'mug' order by price", "does not parse: Expected: ), found: order"),
        ("1 = 1; drop table t", "does not parse"),
        ("price", "does not return a boolean"),
        ("nonsense(price)", "Invalid function 'nonsense'"),
        ("price > 'dear'", "could not convert"),
        ("row_id in (select 1)", "not supported"),
        ("\"two words\" = 'a'", '"two words" is a text; the column is written `two words`'),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(condition: str, reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        matching(ROWS, condition)
    message = str(caught.value)
    assert message.startswith(f"filter {condition!r}: ")
    assert reason in message
    assert ".rs" not in message
    assert "\n" not in message


def test_text_in_quotes_may_hold_anything() -> None:
    assert not matching(ROWS, "category = 'a \"price\"'").any()


def test_many_rows_keep_their_places() -> None:
    count = 1_100_000
    rows = pa.table({"row_id": np.arange(count)[::-1]})
    assert np.flatnonzero(matching(rows, "row_id < 3")).tolist() == [count - 3, count - 2, count - 1]
    assert not len(matching(rows.slice(0, 0), "row_id < 3"))

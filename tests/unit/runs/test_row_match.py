"""Rows are paired by id, and are the same only where that is certain."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray import schema
from vqa_ray.runs.row_match import KnownRow, RowReading, match

ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([("a",), ("b",), None])), max_size=8)


@given(ROWS, ROWS)
def test_each_row_has_at_most_one_partner_and_none_is_lost(before: list, now: list) -> None:
    old = [KnownRow(key, row_id, contents) for key, (row_id, contents) in enumerate(before)]
    new = [KnownRow(100 + key, row_id, contents) for key, (row_id, contents) in enumerate(now)]
    found = match(old, new)
    left = [*found.same[:, 0], *found.changed[:, 0], *found.gone]
    assert sorted(left) == list(range(len(old)))
    taken = [*found.same[:, 1], *found.changed[:, 1]]
    assert len(set(taken)) == len(taken)
    for old_key, new_key in found.same.tolist():
        assert old[old_key].contents == new[new_key - 100].contents is not None
        assert old[old_key].row_id == new[new_key - 100].row_id
    shared = Counter(row.row_id for row in old) & Counter(row.row_id for row in new)
    assert len(taken) == sum(shared.values())


def test_of_rows_with_one_id_the_first_is_paired_with_the_first() -> None:
    before = [KnownRow(key, 7, ("a",)) for key in range(3)]
    now = [KnownRow(100, 7, ("a",)), KnownRow(101, 7, ("b",))]
    found = match(before, now)
    assert (found.same.tolist(), found.changed.tolist(), found.gone.tolist()) == ([[0, 100]], [[1, 101]], [2])


def output_row(**more: object) -> pa.Table:
    row = {"source_key": 1, "row_id": 5, "image_id": "i", "image_uri": "s3://b/i.jpg", "status": "ok", "attempt": 1}
    full = {**row, "question": "what?", "question_index": 0, **more}
    return pa.Table.from_pylist([full], schema.with_kept(schema.ANSWER, [pa.field("price", pa.float64())]))


def input_row(**more: object) -> pa.Table:
    row = {"source_key": 9, "row_id": 5, "image_id": "i", "image_uri": "s3://b/i.jpg", "status": "ok"}
    full = {**row, "questions": ["what?"], **more}
    return pa.Table.from_pylist([full], schema.with_kept(schema.READ, [pa.field("price", pa.float64())]))


def is_same(reading: RowReading, written: pa.Table, read: pa.Table) -> bool:
    return len(match(reading.of_output(written), reading.of_input(read)).same) == 1


OWN = RowReading(("image_id", "question_id", "image_uri"), (("price", "price"),), has_own_ids=True)
HASHED = RowReading(("image_id", "question_id"), (("price", "price"),))


def test_a_row_with_an_id_of_its_own_is_the_same_if_all_that_stands_in_the_output_is() -> None:
    assert is_same(OWN, output_row(price=2.5), input_row(price=2.5))
    for changed in (
        {"price": 3.0},
        {"image_uri": "s3://b/j.jpg"},
        {"questions": ["who?"]},
        {"questions": ["what?", "who?"]},
        {"question_id": "q"},
        {"status": "error"},
    ):
        assert not is_same(OWN, output_row(price=2.5), input_row(**{"price": 2.5, **changed})), changed
    assert not is_same(OWN, output_row(image_uri=None), input_row(image_uri=None)), "bytes that nothing compares"
    assert not is_same(OWN, output_row(status="error"), input_row()), "a failed row is asked again"


def test_a_row_whose_id_is_a_hash_is_the_same_by_it() -> None:
    assert is_same(HASHED, output_row(image_uri=None), input_row(image_uri=None, questions=["what?"]))
    assert not is_same(HASHED, output_row(), input_row(price=1.0))
    assert not is_same(RowReading(("image_id",), tells_all=False), output_row(), input_row())


def test_the_questions_of_a_row_are_compared_in_their_order() -> None:
    written = pa.concat_tables([output_row(question="b", question_index=1), output_row(question="a")])
    assert is_same(OWN, written, input_row(questions=["a", "b"]))
    assert not is_same(OWN, written, input_row(questions=["b", "a"]))

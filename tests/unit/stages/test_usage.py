"""The rows that the budget of an endpoint has no room for."""

from __future__ import annotations

import pyarrow as pa
import pytest

from vqa_ray.stages.questions import OUTCOME, PACKED
from vqa_ray.stages.usage import without_unbudgeted

CODES = [None, "budget_spent", "model_error"]
PLAIN = pa.table({"error_code": CODES})
# The second row has a question that was answered, too.
OF_QUESTIONS = pa.table(
    {PACKED: [[{"error_code": None}], [{"error_code": None}, {"error_code": "budget_spent"}], [{"error_code": "a"}]]}
)


@pytest.mark.parametrize("table", [PLAIN, OF_QUESTIONS])
@pytest.mark.parametrize("is_first_of_two", [False, True])
def test_rows_that_the_budget_has_no_room_for_are_left_out(table: pa.Table, is_first_of_two: bool) -> None:
    if is_first_of_two:
        table = pa.table({"error_code": [None] * 3, OUTCOME: table.to_struct_array().combine_chunks()})
    assert without_unbudgeted(table).equals(table.take([0, 2]))
    assert without_unbudgeted(table.slice(0, 1)).equals(table.slice(0, 1))

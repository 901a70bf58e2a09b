"""Errors in the rows of a table."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError


def rows(count: int) -> pa.Table:
    return pa.Table.from_pylist([{"row_id": n, "source_key": n, "status": "ok"} for n in range(count)], schema.READ)


def test_failed_rows_carry_their_error_and_the_others_stay() -> None:
    table = schema.mark_failed(rows(3), {1: RowError(ErrorCode.IMAGE_MISSING, "gone")})
    table = schema.mark_failed(pa.concat_tables([table, rows(1)]), {3: RowError(ErrorCode.ROW_CRASHED, "dead")})
    assert table.schema.equals(schema.READ)
    assert table["status"].to_pylist() == ["ok", "error", "ok", "error"]
    assert table["error_code"].to_pylist() == [None, "image_missing", None, "row_crashed"]
    assert table["error_message"].to_pylist() == [None, "gone", None, "dead"]
    assert schema.is_ok(table).tolist() == [True, False, True, False]
    assert schema.ok_rows(table).tolist() == [0, 2]


def test_a_table_without_failures_or_rows_stays_as_it_is() -> None:
    table = rows(2)
    assert schema.mark_failed(table, {}) is table
    assert schema.is_ok(table.slice(0, 0)).dtype == bool
    assert schema.ok_rows(schema.READ.empty_table()).tolist() == []

"""Rows of Arrow tables as Python values."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyarrow import types


def python_rows(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows as dictionaries.

    Columns with dates or times that Python does not hold (beyond the year 9999, in a zone that is unknown here) are
    text in them: kept columns may have any values that Parquet holds.
    """
    try:
        return list(table.to_pylist())
    except (OverflowError, ValueError):
        columns = [_readable(column) for column in table.columns]
        return list(pa.Table.from_arrays(columns, names=table.column_names).to_pylist())


def _readable(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    try:
        column.to_pylist()
    except (OverflowError, ValueError):
        return column.cast(_mapped(column.type, _without_zone)).cast(_mapped(column.type, _as_text))
    return column


def _mapped(given: pa.DataType, change: Any) -> pa.DataType:
    """Return a type in which the dates and times are others."""

    def inner(part: pa.Field) -> pa.Field:
        return part.with_type(_mapped(part.type, change))

    if types.is_struct(given):
        return pa.struct([inner(part) for part in given])
    if types.is_map(given):
        return pa.map_(_mapped(given.key_type, change), inner(given.item_field))
    if types.is_fixed_size_list(given):
        return pa.list_(inner(given.value_field), given.list_size)
    if types.is_large_list(given):
        return pa.large_list(inner(given.value_field))
    if types.is_list(given):
        return pa.list_(inner(given.value_field))
    return change(given) if types.is_timestamp(given) or types.is_date(given) else given


def _without_zone(given: pa.DataType) -> pa.DataType:
    return pa.timestamp(given.unit) if types.is_timestamp(given) else given


def _as_text(_: pa.DataType) -> pa.DataType:
    return pa.string()

"""Rows as CSV and JSON Lines, streamed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vqa_ray.export.plain import to_plain

Row = Mapping[str, Any]

# Columns that are of no use as text.
LEFT_OUT = ("embedding", "thumbnail")
# Spreadsheets take these for the beginning of a formula.
_FORMULA = ("=", "+", "@", "\t", "\r")


def exported_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of a run or an index that are exported: all but vectors, thumbnails and other bytes."""
    return [
        field.name
        for field in schema
        if field.name not in LEFT_OUT and not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))
    ]


def jsonl_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each row as a JSON object; dates become text, infinities null."""
    for row in rows:
        yield json.dumps(to_plain(row), ensure_ascii=False) + "\n"


def csv_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[str]:
    """Yield a header, then each row; see `csv_cell`; null becomes an empty cell."""
    yield _record(columns)
    for row in rows:
        plain = to_plain(row)
        yield _record([csv_cell(plain[name]) for name in columns])


def _record(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def csv_cell(value: Any) -> Any:
    """Return a plain value as a cell of CSV: lists and structs as JSON, text never as a formula."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value

"""Rows as CSV and JSON Lines: one line each, streamed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vqa_ray.export.plain import to_plain

Row = Mapping[str, Any]

# What text has no use for.
LEFT_OUT = ("embedding", "thumbnail")


def exported_columns(schema: pa.Schema) -> list[str]:
    """The columns of a run or an index that are written: all but vectors, thumbnails and other bytes."""
    return [
        field.name
        for field in schema
        if field.name not in LEFT_OUT and not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))
    ]


def jsonl_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Each row as a JSON object; what JSON lacks (dates, infinities) as text or null."""
    for row in rows:
        yield json.dumps(to_plain(row), ensure_ascii=False) + "\n"


def csv_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[str]:
    """A header, then each row; lists and structs as JSON in their cell, null as an empty cell."""
    yield _record(columns)
    for row in rows:
        plain = to_plain(row)
        yield _record([_cell(plain[name]) for name in columns])


def _record(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value

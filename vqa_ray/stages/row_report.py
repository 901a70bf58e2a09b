"""Report how many rows a model stage has returned, and its first error, while the run goes on."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.schema import STATUS_ERROR
from vqa_ray.stages.questions import PACKED

_EVERY_S = 0.5
# Columns that name an image, the best first.
_NAMES = ("image_uri", "image_id", "row_id")


@dataclass(frozen=True, slots=True)
class ReturnedRows:
    """Rows that model stages have returned.

    Attributes:
        rows: in all.
        failed: rows in error.
        first_error: `code: message (image)` of the first row in error; None for none.
    """

    rows: int = 0
    failed: int = 0
    first_error: str | None = None

    def __add__(self, other: ReturnedRows) -> ReturnedRows:
        first = self.first_error or other.first_error
        return ReturnedRows(self.rows + other.rows, self.failed + other.failed, first)

    @classmethod
    def from_json(cls, data: bytes) -> ReturnedRows:
        """Read the counts that a `RowReport` has stored."""
        return cls(**json.loads(data))


class RowReport:
    """Counts the rows of one process, and stores the counts for the driver of the run.

    Args:
        put: stores bytes under a key, for all processes of the run.
        prefix: of the keys of the run.
    """

    def __init__(self, put: Callable[[str, bytes], Any], prefix: str) -> None:
        self._put, self._prefix = put, prefix
        self._key = ""
        self._counts = ReturnedRows()
        self._due = 0.0

    def add(self, table: pa.Table) -> None:
        """Count a table that a model stage has returned."""
        failures = _failures(table)
        failed = len(failures)
        is_first = failed and self._counts.first_error is None
        first = _described(failures[0]) if is_first else None
        self._counts += ReturnedRows(table.num_rows, failed, first)
        now = time.monotonic()
        if now >= self._due or is_first:
            self._due = now + _EVERY_S
            # Made here, in the process that counts, because this object may have been copied to it.
            self._key = self._key or f"{self._prefix}{uuid.uuid4().hex}"
            counts = self._counts
            content = {"rows": counts.rows, "failed": counts.failed, "first_error": counts.first_error}
            self._put(self._key, json.dumps(content).encode())


def _failures(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows in error; rows with packed questions (`questions.pack`) count when no question has an answer."""
    if "status" in table.column_names:
        is_error = pc.equal(table["status"], STATUS_ERROR)
        names = [name for name in (*_NAMES, "error_code", "error_message") if name in table.column_names]
        rows: list[dict[str, Any]] = table.select(names).filter(is_error).to_pylist()
        return rows
    named = table.select([name for name in _NAMES if name in table.column_names]).to_pylist()
    packed = zip(named, table[PACKED].to_pylist(), strict=True)
    return [row | outcomes[0] for row, outcomes in packed if all(each["status"] == STATUS_ERROR for each in outcomes)]


def _described(row: dict[str, Any]) -> str:
    name = next((row[name] for name in _NAMES if row.get(name) is not None), None)
    where = "" if name is None or str(name) in str(row["error_message"]) else f" ({name})"
    return f"{row['error_code']}: {row['error_message']}{where}"

"""Report how many rows a model stage has returned, and its first error, while the run goes on."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import FILTERED
from vqa_ray.schema import STATUS_ERROR
from vqa_ray.stages.process_report import ProcessReport
from vqa_ray.stages.questions import PACKED
from vqa_ray.stages.stage_clock import StageTimes
from vqa_ray.storage.redaction import without_url_secrets

_NO_TIMES = StageTimes()
# Columns that name an image, the best first.
_NAMES = ("image_uri", "image_id", "row_id")


@dataclass(frozen=True, slots=True)
class ReturnedRows:
    """Rows that model stages have returned.

    Attributes:
        rows: in all.
        failed: rows in error.
        first_error: `code: message (image)` of the first row in error; None for none.
        errors: error code → rows in error.
        examples: error code → message and image of its first row.
        actors: processes that have returned rows.
        times: of their stages.
        at: Unix time of the last return; 0 before it.
    """

    rows: int = 0
    failed: int = 0
    first_error: str | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    actors: int = field(default=0, compare=False)
    times: StageTimes = field(default=_NO_TIMES, compare=False)
    at: float = field(default=0.0, compare=False)

    def __add__(self, other: ReturnedRows) -> ReturnedRows:
        return ReturnedRows(
            self.rows + other.rows,
            self.failed + other.failed,
            self.first_error or other.first_error,
            dict(Counter(self.errors) + Counter(other.errors)),
            {**other.examples, **self.examples},
            self.actors + other.actors,
            self.times.plus(other.times),
            max(self.at, other.at),
        )

    @classmethod
    def from_json(cls, data: bytes) -> ReturnedRows:
        """Read the counts that a `RowReport` has stored."""
        content = json.loads(data)
        return cls(**{**content, "times": StageTimes(*content["times"])})

    def to_json(self) -> bytes:
        """Write the counts."""
        return json.dumps(asdict(self)).encode()


class RowReport:
    """Counts the rows of one process, and stores the counts for the driver of the run.

    Args:
        put: stores bytes under a key, for all processes of the run.
        prefix: of the keys of the run.
        observe: takes the rows, the errors by code and the times of each table; None for nobody.
    """

    def __init__(
        self,
        put: Callable[[str, bytes], Any],
        prefix: str,
        observe: Callable[[int, Mapping[str, int], StageTimes], object] | None = None,
    ) -> None:
        self._report, self._observe = ProcessReport(put, prefix), observe
        self._counts = ReturnedRows()

    def add(self, table: pa.Table, times: StageTimes = _NO_TIMES) -> None:
        """Count a table that a model stage has returned; `times` are those of all its calls."""
        failures = _failures(table)
        codes = Counter(str(row["error_code"]) for row in failures)
        new = codes.keys() - self._counts.examples.keys()
        # Backwards, so that the first row of a code stays.
        examples = {code: _described(row) for row in reversed(failures) if (code := str(row["error_code"])) in new}
        is_first = bool(failures) and self._counts.first_error is None
        first = _described(failures[0]) if is_first else None
        if self._observe is not None:
            self._observe(table.num_rows, codes, times.minus(self._counts.times))
        counts = self._counts + ReturnedRows(table.num_rows, len(failures), first, codes, examples)
        self._counts = replace(counts, actors=1, times=times, at=time.time())
        self._report.store(self._counts.to_json, at_once=is_first)


def _failures(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows in error; rows with packed questions (`questions.pack`) count when no question has an answer."""
    if "status" in table.column_names:
        is_error = pc.equal(table["status"], STATUS_ERROR)
        names = [name for name in (*_NAMES, "error_code", "error_message") if name in table.column_names]
        rows: list[dict[str, Any]] = table.select(names).filter(is_error).to_pylist()
        return rows
    named = table.select([name for name in _NAMES if name in table.column_names]).to_pylist()
    packed = zip(named, table[PACKED].to_pylist(), strict=True)
    return [row | outcomes[0] for row, outcomes in packed if all(map(_is_failed, outcomes))]


def _is_failed(outcome: dict[str, Any]) -> bool:
    return outcome["status"] == STATUS_ERROR and outcome["error_code"] not in FILTERED


def _described(row: dict[str, Any]) -> str:
    names = (str(row[name]) for name in _NAMES if row.get(name) is not None)
    # A signed URL names an image, and opens it.
    name = without_url_secrets(next(names, ""))
    where = "" if name in str(row["error_message"]) else f" ({name})"
    return f"{row['error_code']}: {row['error_message']}{where}"

"""The record of an evaluation, `evaluation.json`: what was measured, how, on which rows, and how sure it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from vqa_ray.errors import RequestError
from vqa_ray.evaluation.reliability import Reliability
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.runs.record import to_json
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.filesystem import read_bytes

FORMAT = 1
MEASURES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("group", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("n", pa.int64()),
        pa.field("clusters", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Group:
    """The rows with one value in a column."""

    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of all rows, or of a group.

    Attributes:
        name: as the protocol names it.
        value: in the unit of the official script; None where it is not defined, e.g. nothing is below the line.
        low, high: the interval; None where there are too few clusters for one.
        n, clusters: rows, and images that they are of.
        group: None for all rows.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    group: Group | None = None


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """The content of `evaluation.json`.

    Attributes:
        version: of vqa-ray.
        protocol, title, source: of the protocol; see `vqa_ray.evaluation.protocol.Protocol`.
        truth, predictions: URIs without secrets; `truth` is None where it lies in the run.
        job, model: of the run; None where the predictions are a table of others.
        key: the column, or `a+b` for several, whose ids join predictions with truth.
        by: the columns that the measures are broken down by, those of the protocol included.
        rows: truth, predictions, judged, unparsed, failed, missing, no_truth, bad_truth, duplicate_truth,
            duplicate_predictions, superseded → number of rows.
        errors: error code → failed rows.
        headline: the name of the measure that stands first.
        scale: what 1.0 of the headline is in its unit: 1, or 100 for percent.
        measures: those of all rows first.
        interval: level, clusters (the column), method (measure → `analytic` or `bootstrap`), resamples, seed; variance
            of a row's score and design_effect of the clusters, which tell how many rows a precision takes.
        notes: what a reader of the numbers has to know, a sentence each.
        calibration: of the scores of the predictions; None where they have none.
    """

    version: str
    protocol: str
    title: str
    source: str
    truth: str | None
    predictions: str
    job: str | None
    model: str | None
    key: str
    by: Sequence[str]
    rows: Mapping[str, int]
    errors: Mapping[str, int]
    headline: str
    scale: float
    measures: Sequence[Measure]
    interval: Mapping[str, Any]
    notes: Sequence[str] = field(default_factory=tuple)
    calibration: Reliability | None = None

    @property
    def first(self) -> Measure:
        """The headline measure of all rows."""
        return next(each for each in self.measures if each.name == self.headline and each.group is None)

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON holds it."""
        return {"format": FORMAT, **asdict(self)}

    def table(self) -> pa.Table:
        """Return the measures as a table of MEASURES."""
        rows = [
            {
                **{name: getattr(each, name) for name in ("name", "value", "low", "high", "n", "clusters")},
                "column": each.group and each.group.column,
                "group": each.group and each.group.value,
            }
            for each in self.measures
        ]
        return pa.Table.from_pylist(rows, MEASURES)

    def write(self, output: str) -> None:
        """Write it into the directory of an evaluation, atomically, after its measures as a table."""
        directory = EvaluationDirectory(output)
        write_table_atomic(directory.measures, self.table())
        write_bytes_atomic(directory.record, to_json(self.to_dict()))

    @classmethod
    def read(cls, output: str) -> EvaluationRecord | None:
        """Return the record of a finished evaluation; None where there is none.

        Raises:
            RequestError: it is not a record of this format.
        """
        uri = EvaluationDirectory(output).record
        try:
            content = json.loads(read_bytes(uri))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise RequestError(f"{uri}: not JSON: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise RequestError(f"{uri}: format {found!r} of another version; this one reads {FORMAT}")
        known = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
        known["measures"] = [
            Measure(**{**each, "group": Group(**each["group"]) if each["group"] else None})
            for each in content["measures"]
        ]
        known["calibration"] = _RELIABILITY.validate_python(content.get("calibration"))
        return cls(**known)


_RELIABILITY: TypeAdapter[Reliability | None] = TypeAdapter(Reliability | None)


def number(value: float) -> float | None:
    """Return a number as JSON can hold it: None for NaN and infinities."""
    return float(value) if isfinite(value) else None

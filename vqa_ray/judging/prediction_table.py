"""Predictions that no run of ours wrote: a table with ids and a column of answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import ErrorCode, RequestError
from vqa_ray.judging.cells import listed_texts
from vqa_ray.judging.record_table import AnnotationTable, RecordTable, describe_columns, open_records
from vqa_ray.judging.side import ATTEMPT, SIDE, prediction_schema
from vqa_ray.readers import InputConfig

# Names of the column that holds them, the first that is there counts.
PREDICTION_COLUMNS = ("prediction", "response", "answer", "caption", "tags", "match")
_SCORES = ("answer_score", "caption_score", "score", "confidence")
_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """A table of predictions; see `vqa_ray.judging.side.Side`.

    Attributes:
        table: the table.
        column: that holds the predictions.
        kind: of prediction.
    """

    table: RecordTable
    column: str
    kind: str

    @property
    def uri(self) -> str:
        """The URI as it was given."""
        return self.table.uri

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the files."""
        return self.table.fingerprint

    @property
    def rows(self) -> int:
        """The number of rows, about."""
        return self.table.rows

    @property
    def tasks(self) -> int:
        """The number of parts."""
        return self.table.tasks

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the further columns."""
        return tuple(name for name in self.table.columns if name != self.column)

    @property
    def ids(self) -> frozenset[str]:
        """The columns of ids that hold something."""
        return self.table.ids

    @property
    def schema(self) -> pa.Schema:
        """The columns of its rows."""
        own = [field for field in self.table.source.passthrough_columns() if field.name in self.columns]
        return prediction_schema(self.kind, [field for field in own if field.name != ATTEMPT.name])

    def tables(self, task: int) -> Iterator[pa.Table]:
        """Yield the rows of a part."""
        score = next((name for name in _SCORES if name in self.columns), None)
        for table in self.table.tables(task):
            count, names = table.num_rows, table.column_names
            given = {
                "attempt": [_number(each, int) or 1 for each in _values(table, ATTEMPT.name)],
                "place": [0] * count,
                "failed": pc.is_valid(table["malformed"]),
                "error_code": pc.if_else(pc.is_valid(table["malformed"]), str(ErrorCode.ROW_MALFORMED), None),
                "prediction": [self._prediction(each) for each in _values(table, self.column)],
                "confidence": [_number(each, float) for each in _values(table, score)],
            }
            arrays = [
                _array(given.get(field.name, table[field.name] if field.name in names else pa.nulls(count)), field.type)
                for field in self.schema
            ]
            yield pa.Table.from_arrays(arrays, schema=self.schema)

    def _prediction(self, value: Any) -> Any:
        if value is None:
            return None
        if self.kind == "labels":
            labels = listed_texts(value)
            return [str(each) for each in labels] if isinstance(labels, list) else [str(labels)]
        return _YES_NO.get(str(value).strip().lower()) if self.kind == "match" else str(value)


def open_predictions(config: InputConfig, kind: str, wanted: tuple[str, ...], column: str | None) -> PredictionTable:
    """Open a table of predictions.

    Args:
        config: what to read.
        kind: of prediction, as the protocol takes it.
        wanted: further columns, which are read where they are there.
        column: that holds the predictions; None for the usual names.

    Raises:
        RequestError: it cannot be read, or has no predictions.
    """
    candidates = PREDICTION_COLUMNS if column is None else (column,)
    try:
        table = open_records(config, (*candidates, *_SCORES, ATTEMPT.name, *wanted))
    except RequestError as error:
        raise RequestError(f"--predictions {error}; expected a run directory, or a table of predictions") from error
    found = next((name for name in candidates if name in table.columns), None)
    if isinstance(table, AnnotationTable) or found is None:
        raise RequestError(
            f"--predictions {config.uri}: neither a run directory nor a table with a column of predictions "
            f"({', '.join(candidates)}); the columns are: {describe_columns(table)}; name it with --column "
            "prediction=NAME"
        )
    return PredictionTable(table, found, kind)


def _array(values: Any, kind: pa.DataType) -> Any:
    is_arrow = isinstance(values, pa.Array | pa.ChunkedArray)
    return values.cast(kind) if is_arrow else pa.array(values, kind)


def _values(table: pa.Table, name: str | None) -> list[Any]:
    if name is None or name not in table.column_names or name in SIDE.names:
        return [None] * table.num_rows
    return list(table[name].to_pylist())


def _number(value: Any, kind: type[int] | type[float]) -> Any:
    try:
        return None if value is None else kind(value)
    except (TypeError, ValueError, OverflowError):
        return None if kind is int else float("nan")

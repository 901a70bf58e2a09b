"""The two sides of an evaluation as tables with common columns: predictions and truth."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import pyarrow as pa

from vqa_ray.errors import RequestError, RowError
from vqa_ray.readers.arrow_rows import values_of
from vqa_ray.readers.coerce import as_id

# The columns of every row, before those of its own.
SIDE = pa.schema(
    [
        # The place of the row in what it was read from.
        pa.field("order", pa.int64(), nullable=False),
        pa.field("row_id", pa.string()),
        pa.field("image_id", pa.string()),
        pa.field("question_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("question", pa.string()),
        # Why the row cannot be read; null where it can.
        pa.field("malformed", pa.string()),
    ]
)
# The columns of a row of predictions; `prediction` is text, a list of labels or a boolean.
ATTEMPT = pa.field("attempt", pa.int32(), nullable=False)
PREDICTED = (
    ATTEMPT,
    # The question of an input row that has several.
    pa.field("place", pa.int32(), nullable=False),
    pa.field("attribute", pa.string()),
    pa.field("failed", pa.bool_(), nullable=False),
    pa.field("error_code", pa.string()),
    pa.field("confidence", pa.float32()),
)
SCORES = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))
PREDICTIONS = {"text": pa.string(), "labels": pa.list_(pa.string()), "match": pa.bool_()}


class Side(Protocol):
    """Rows to be joined, read in tasks.

    Attributes:
        uri: where they are, as the request names it.
        fingerprint: changes with the rows.
        rows: their number, about.
        tasks: the number of parts in which they are read.
        columns: the names of the columns beside those of SIDE and PREDICTED.
        ids: the columns of SIDE that hold something in the first rows.
    """

    @property
    def uri(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def tasks(self) -> int: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def ids(self) -> frozenset[str]: ...

    def tables(self, task: int) -> Iterator[pa.Table]:
        """Yield the rows of a task, each table of the same schema."""
        ...


@dataclass(frozen=True, slots=True)
class FirstRows:
    """The first rows of a side, as a side; see `Side`."""

    side: Side
    rows: int
    tasks: int = 1

    @property
    def uri(self) -> str:
        """The URI of all rows."""
        return self.side.uri

    @property
    def fingerprint(self) -> str:
        """The fingerprint of all rows."""
        return self.side.fingerprint

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the side."""
        return self.side.columns

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the side."""
        return self.side.ids

    def tables(self, task: int) -> Iterator[pa.Table]:
        """Yield the rows."""
        del task
        left = self.rows
        for table in chain.from_iterable(map(self.side.tables, range(self.side.tasks))):
            yield table.slice(0, left)
            left -= table.num_rows
            if left <= 0:
                return


def prediction_schema(kind: str, columns: Sequence[pa.Field] = ()) -> pa.Schema:
    """Return the schema of rows of predictions.

    Args:
        kind: `text`, `labels` or `match`; see `vqa_ray.evaluation.protocol.Protocol`.
        columns: that follow.
    """
    fields = [*SIDE, *PREDICTED, pa.field("prediction", PREDICTIONS[kind]), pa.field("scores", SCORES)]
    return pa.schema([*fields, *columns])


def keys_of(table: pa.Table, names: Sequence[str]) -> list[str | None]:
    """Return the id of each row: the values of a column, or of several with tabs between; None where one is null.

    Ids are text: leading zeros count. Letters with accents have one form, whatever system their file comes from.

    Raises:
        RequestError: a value is no id.
    """
    try:
        columns = [[as_id(value, name) for value in values_of(_column(table, name), as_text=True)] for name in names]
    except RowError as error:
        raise RequestError(f"--key: {error.message}") from error
    if len(columns) == 1:
        return [_composed(value) for value in columns[0]]
    return [None if None in parts else _composed("\t".join(map(str, parts))) for parts in zip(*columns, strict=True)]


def _column(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _composed(value: str | None) -> str | None:
    return value if value is None or value.isascii() else unicodedata.normalize("NFC", value)

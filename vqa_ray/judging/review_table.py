"""Verdicts of `vqa-ray review` as truth by image: a column for each question or attribute.

Where an answer is wrong and the right one is not known, the true labels are `[]`: none is known, and what was given is
none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vqa_ray.errors import RowError
from vqa_ray.judging.side import SIDE
from vqa_ray.readers.coerce import as_id
from vqa_ray.readers.records import read_records
from vqa_ray.readers.source import Source

_NAMES = {"verdict", "prediction", "question", "attribute", "several"}
_SEPARATOR = ";"
_LABELS = pa.list_(pa.string())

Record = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ReviewTable:
    """Verdicts on the attributes of a tag run, a row for each image; see `vqa_ray.judging.side.Side`."""

    uri: str
    fingerprint: str
    table: pa.Table
    tasks: int = 1
    ids: frozenset[str] = frozenset({"image_id"})

    @classmethod
    def of(cls, source: Source) -> ReviewTable | None:
        """Return the verdicts that a table holds; None where it holds something else.

        Raises:
            RequestError: it cannot be read.
        """
        if not set(source.columns) >= _NAMES:
            return None
        rows = []
        records = read_records(source.config.uri, "image_id", source.config.encoding)
        for number, (_, row) in enumerate(pivoted(records)):
            labels = {name: [value] if isinstance(value, str) else value for name, value in row.items()}
            try:
                key, problem = as_id(row.get("image_id"), "image_id"), None
            except RowError as error:
                key, problem = None, error.message
            rows.append({**labels, "order": number, "image_id": key, "malformed": problem})
        names = dict.fromkeys(name for row in rows for name in row if name not in SIDE.names)
        form = pa.schema([*SIDE, *(pa.field(name, _LABELS) for name in names)])
        return cls(source.config.uri, source.fingerprint, pa.Table.from_pylist(rows, form))

    @property
    def rows(self) -> int:
        """The number of images."""
        return int(self.table.num_rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the attributes."""
        return tuple(name for name in self.table.column_names if name not in SIDE.names)

    def tables(self, task: int) -> Iterator[pa.Table]:
        """Yield all rows."""
        del task
        yield self.table


def pivoted(records: Iterable[Record]) -> Iterator[Record]:
    """Yield labels by image where records are verdicts, else the records as they are.

    Args:
        records: where each stands, and its values by column.
    """
    by_image: dict[Any, tuple[str, dict[str, Any]]] = {}
    for where, row in records:
        if not row.keys() >= _NAMES or row.get("image_id") is None:
            yield where, row
            continue
        _, labels = by_image.setdefault(row["image_id"], (where, {"image_id": row["image_id"]}))
        label = _label(row)
        if label is not None:
            labels[str(row["attribute"] or row["question"])] = label
    yield from by_image.values()


def _label(row: Mapping[str, Any]) -> Any:
    """Return the right answer, a list of several; None where nothing follows from the verdict."""
    answer = row.get("answer")
    if answer is None:
        # Of several values, nobody knows which one is wrong.
        return None if row["several"] and row["verdict"] != "right" else []
    return [part.strip() for part in str(answer).split(_SEPARATOR)] if row["several"] else str(answer)

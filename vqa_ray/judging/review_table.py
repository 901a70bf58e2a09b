"""Verdicts of `vqa-ray review` as truth by image: a column for each question or attribute.

Where an answer is wrong and the right one is not known, the true labels are `NOT_KNOWN` alone, which no run gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vqa_ray.errors import RowError
from vqa_ray.evaluation.protocols.multi_label import NOT_KNOWN
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
    """Verdicts on the attributes of a tag run, a row for each image; see `vqa_ray.judging.side.Side`.

    Attributes:
        probabilities: the least and the greatest with which a row was drawn.
    """

    uri: str
    fingerprint: str
    table: pa.Table
    probabilities: tuple[float, float]
    tasks: int = 1
    ids: frozenset[str] = frozenset({"image_id"})

    @classmethod
    def of(cls, source: Source) -> ReviewTable | None:
        """Return the verdicts that a table holds; None where it holds something else.

        Raises:
            RequestError: it cannot be read.
        """
        if not is_review(source.columns):
            return None
        rows = []
        records = list(read_records(source.config.uri, "image_id", source.config.encoding))
        drawn = [float(str(row.get("inclusion_probability") or 1.0)) for _, row in records]
        for number, (_, row) in enumerate(pivoted(records, not_known=[NOT_KNOWN])):
            labels = {name: [value] if isinstance(value, str) else value for name, value in row.items()}
            try:
                key, problem = as_id(row.get("image_id"), "image_id"), None
            except RowError as error:
                key, problem = None, error.message
            rows.append({**labels, "order": number, "image_id": key, "malformed": problem})
        names = dict.fromkeys(name for row in rows for name in row if name not in SIDE.names)
        form = pa.schema([*SIDE, *(pa.field(name, _LABELS) for name in names)])
        return cls(source.config.uri, source.fingerprint, pa.Table.from_pylist(rows, form), (min(drawn), max(drawn)))

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


def is_review(columns: Iterable[str]) -> bool:
    """Return whether columns are of a file of `vqa-ray review`."""
    return set(columns) >= _NAMES


def pivoted(records: Iterable[Record], not_known: Sequence[str] = ()) -> Iterator[Record]:
    """Yield labels by image where records are verdicts, else the records as they are.

    Args:
        records: where each stands, and its values by column.
        not_known: the labels where an answer is wrong and the right one is not known; without any, such verdicts on
            attributes with several values are left out, because nobody knows which value is wrong.
    """
    by_image: dict[Any, tuple[str, dict[str, Any]]] = {}
    for where, row in records:
        if not row.keys() >= _NAMES or row.get("image_id") is None:
            yield where, row
            continue
        _, labels = by_image.setdefault(row["image_id"], (where, {"image_id": row["image_id"]}))
        label = _label(row, not_known)
        if label is not None:
            labels[str(row["attribute"] or row["question"])] = label
    yield from by_image.values()


def _label(row: Mapping[str, Any], not_known: Sequence[str]) -> Any:
    """Return the right answer, a list of several; None where nothing follows from the verdict."""
    answer = row.get("answer")
    if answer is None and row["verdict"] == "right":
        return []
    if answer is None:
        return list(not_known) or (None if row["several"] else [])
    return [part.strip() for part in str(answer).split(_SEPARATOR)] if row["several"] else str(answer)

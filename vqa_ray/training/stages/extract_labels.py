"""READ rows with their columns of truth → LABELS rows, which training needs of all rows before it reads any image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import compute

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.row_builder import identity
from vqa_ray.training.data.captions import CAPTION, captions_of
from vqa_ray.training.data.row_schema import LABELS
from vqa_ray.training.data.source import TrainingSource, Truth


class ExtractLabels:
    """Takes question, right answers and the name of the image out of each row. Rows in error pass through.

    Args:
        source: what is read; the tables are those of its `labels`.
    """

    def __init__(self, source: TrainingSource) -> None:
        self._truth, self._kind = source.truth, source.kind
        self._answer_type, self._auxiliary = source.answer_type, source.auxiliary

    def __call__(self, table: pa.Table) -> pa.Table:
        """Take the labels out of rows.

        Args:
            table: READ columns, then those of truth.

        Returns:
            As many rows, in order: LABELS columns. A row whose labels and weights differ in number is in error.
        """
        named = {schema.written_name(name): table[name] for name in table.column_names[len(schema.READ) :]}
        truth = [_TAKE[self._kind](value) for value in named[self._truth].to_pylist()]
        others = [_texts(named[name]) for name in self._auxiliary]
        kinds = [None] * table.num_rows if self._answer_type is None else _texts(named[self._answer_type])
        is_weighted = self._kind == "weighted"
        columns: dict[str, object] = {
            "source_key": table["source_key"],
            "image_key": self._image_keys(table),
            "question": self._questions(table),
            "answers": [answers for answers, _, _ in truth],
            "weights": [weights if is_weighted else None for _, weights, _ in truth],
            # Captions are not distinguished by what they are about.
            "answer_type": [CAPTION if self._kind == "captions" else (kind or "").strip() or None for kind in kinds],
            "auxiliary": [[column[row] for column in others] for row in range(table.num_rows)],
            **{field.name: table[field.name] for field in schema.STATUS},
        }
        arrays = [
            column if isinstance(column, pa.ChunkedArray) else pa.array(column, part.type)
            for part, column in zip(LABELS, (columns[name] for name in LABELS.names), strict=True)
        ]
        failures = {
            row: RowError(ErrorCode.ROW_MALFORMED, f"column {self._truth!r} {truth[row][2]}")
            for row in schema.ok_rows(table).tolist()
            if truth[row][2]
        }
        return schema.mark_failed(pa.Table.from_arrays(arrays, schema=LABELS), failures)

    def _image_keys(self, table: pa.Table) -> list[int | None]:
        """Return what tells images apart; of a conversation without any, the row itself."""
        keys = [_image_key(image_id) for image_id in table["image_id"].to_pylist()]
        if self._kind != "conversation":
            return keys
        rows = table["source_key"].to_pylist()
        return [row if key is None else key for key, row in zip(keys, rows, strict=True)]

    def _questions(self, table: pa.Table) -> list[str | None]:
        if self._kind == "conversation":
            return [cells[-2]["text"] if cells else None for cells in table[self._truth].to_pylist()]
        return [questions[0] if questions else None for questions in table["questions"].to_pylist()]


# Answers, their weights, and what is wrong with them.
_Taken = tuple[list[str], list[float], str]


def _annotators(value: list[str | None] | None) -> _Taken:
    return [answer for answer in value or () if answer is not None and answer.strip()], [], ""


def _answer(value: object) -> _Taken:
    return _annotators([None if value is None else str(value)])


def _weighted(value: Mapping[str, Any] | None) -> _Taken:
    ids, weights = (value or {}).get("ids") or [], (value or {}).get("weights") or []
    if len(ids) != len(weights):
        return [], [], f"has {len(ids)} ids and {len(weights)} weights; wanted is one weight for each id"
    if None in ids or None in weights:
        return [], [], "has null among its ids or weights"
    return [str(name) for name in ids], [float(weight) for weight in weights], ""


def _captions(value: object) -> _Taken:
    return captions_of(value), [], ""


def _last_answer(cells: Sequence[Mapping[str, str]] | None) -> _Taken:
    return [cells[-1]["text"]] if cells else [], [], ""


_TAKE: Mapping[Truth, Callable[..., _Taken]] = {
    "annotators": _annotators,
    "answer": _answer,
    "weighted": _weighted,
    "captions": _captions,
    "conversation": _last_answer,
}


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    return list(compute.cast(column, pa.string()).to_pylist())


def _image_key(image_id: str | None) -> int | None:
    return None if image_id is None else identity(b"image", image_id.encode())

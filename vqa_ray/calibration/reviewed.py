"""Verdicts of `vqa-ray review` as labels: of each image, a column for each question or attribute.

A wrong answer whose right one is not known is the label `[]`: nothing is known to be right, and what was given is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_NAMES = {"verdict", "prediction", "question", "attribute", "several"}
SEPARATOR = ";"

Record = tuple[str, Mapping[str, Any]]


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
    return [part.strip() for part in str(answer).split(SEPARATOR)] if row["several"] else str(answer)

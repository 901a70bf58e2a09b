"""The labels of an image in a row of a run, common to all annotation formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vqa_ray.errors import RequestError

Row = Mapping[str, Any]
# Left, upper, right and lower edge in pixels of the upright image.
Edges = tuple[float, float, float, float]

_EDGES = ("x0", "y0", "x1", "y1")
_NEEDED = ("tags", "answer", "results", "caption")


@dataclass(frozen=True, slots=True)
class Label:
    """A label of an image.

    Attributes:
        name: the choice, the answer, the label of a box, or the caption.
        group: the attribute of a tag, the question of an answer, else `caption`.
        score: None for none.
        box: None for the whole image.
    """

    name: str
    group: str
    score: float | None
    box: Edges | None = None


def check_columns(schema: pa.Schema, run: str, form: str) -> None:
    """Check that rows have labels.

    Raises:
        RequestError: they have none.
    """
    if not set(_NEEDED) & set(schema.names):
        raise RequestError(
            f"{run}: --to {form} needs tags, answers or captions: expected a run of tag, answer or caption"
        )


def labels_of(row: Row) -> list[Label]:
    """Return the labels of a row; boxes replace the answer or caption that they belong to."""
    if row.get("tags") is not None:
        return list(_tags(row))
    if row.get("caption") is not None:
        text = Label(row["caption"], "caption", row.get("caption_score"))
        return _boxes(row, "caption") or [text]
    asked = [row] if row.get("answer") is not None else row.get("results") or ()
    labels: list[Label] = []
    for each in asked:
        question = each.get("question") or ""
        labels += _boxes(each, question) or [Label(each["answer"] or "", question, each.get("answer_score"))]
    return labels


def _tags(row: Row) -> Iterator[Label]:
    scores = {(each["attribute"], each["choice"]): each["score"] for each in row.get("tag_scores") or ()}
    for tag in row["tags"]:
        # Names of attributes hold no colon.
        attribute, _, choice = tag.partition(":")
        yield Label(choice, attribute, scores.get((attribute, choice)))


def _boxes(answer: Row, group: str) -> list[Label]:
    return [
        Label(box["label"] or answer.get("answer") or group, group, None, (box["x0"], box["y0"], box["x1"], box["y1"]))
        for box in answer.get("boxes") or ()
        if all(box[edge] is not None for edge in _EDGES)
    ]

"""Cards of the rows of an index or of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import one_line
from vqa_ray.report.card import (
    Card,
    Line,
    ScoredText,
    answer_lines,
    caption_line,
    conversation_lines,
    failure,
    other_opinion,
    pixel_boxes,
)

_TAIL = ("status", "error_code", "error_message", "warning", "attempt", "source_key")
_ANSWERED = ("question_id", "question", "question_index", "answer", "answer_score", "finish_reason", "answers")
_SHOWN_CHARACTERS = 2_000
# Longer lists are cut on a page; the Parquet files hold them all.
_SHOWN_ITEMS = 100
# Columns with a place of their own on a card, by the command that wrote them.
_OWN: Mapping[str, tuple[str, ...]] = {
    "index": ("height", "width", "sha256"),
    "answer": (*_ANSWERED, "results", "boxes"),
    "fill": ("object_json", "finish_reason"),
    "caption": ("caption", "caption_score", "finish_reason", "boxes"),
    "tag": ("tags", "tag_scores"),
    "retrieve": ("match", "score", "scores"),
    "instruct": (
        *("image", "question_id", "question_index", "results", "task", "prompt_id", "prompt", "reply", "conversation"),
        *("finish_reason", "agreement", "teacher", "teacher_fingerprint", "seed"),
    ),
}
WRITERS = tuple(_OWN)
# The columns by which two models are compared, by the command.
_COMPARED = {"answer": "answer", "caption": "caption", "tag": "tags"}


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a row as text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: a value of an attribute. `attribute` is empty for a tag without one."""

    attribute: str
    value: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of a VQA model on an image, as `retrieve` writes it.

    Attributes:
        match: whether the image matches; None after an error.
        score: of the whole expression, in 0..1; None where a mismatch was certain early, or after an error.
        lines: the questions, each with its score.
        error: why there is no verdict, one line.
    """

    match: bool | None
    score: float | None
    lines: tuple[Line, ...] = ()
    error: str | None = None


class CardMaker:
    """Makes cards of the rows of one table.

    Args:
        job: the command that wrote the rows, `index` included.
        columns: of the table.
        tags: attribute columns; each has a column of scores beside it, with the suffix `_score`.
    """

    def __init__(self, job: str, columns: Sequence[str], tags: Sequence[str] = ()) -> None:
        self._job = job
        self._tags = tuple(tags)
        own = {"row_id", "image_id", "image_uri", *_OWN[job], *_TAIL, "tags", *tags, *(f"{tag}_score" for tag in tags)}
        own |= _opinion_columns(job, columns)
        if job == "fill":
            # The scores of the parts of an object, which stands on one line.
            own |= {f"{name}_score" for name in columns}
        own |= {name for tag in tags for name in further_columns(columns, tag) if not name.endswith("_path")}
        self._further = tuple(name for name in columns if name not in own)

    def card(self, row: Mapping[str, Any]) -> Card:
        """Make the card of a row, without its tags."""
        return Card(
            title=title_of(row),
            lines=(*self._lines(row), *self._further_lines(row)),
            boxes=pixel_boxes(row.get("results") or [row]) if self._job in ("answer", "caption") else (),
            **failure(row),
        )

    def tags(self, row: Mapping[str, Any]) -> tuple[Tag, ...]:
        """Return the tags of a row: the values of its attributes, or its list of tags where it has no attributes."""
        if not self._tags:
            parts = (str(tag).partition(":") for tag in row.get("tags") or ())
            return tuple(Tag(name, value) if colon else Tag("", name) for name, colon, value in parts)
        found = ((name, value) for name in self._tags for value in _scored(row[name], row[f"{name}_score"]))
        return tuple(Tag(name, value.text, value.score) for name, value in found)

    def verdict(self, row: Mapping[str, Any]) -> Verdict | None:
        """Return the verdict of a RETRIEVE row; None for rows of other commands."""
        return verdict_of(row) if self._job == "retrieve" else None

    def _lines(self, row: Mapping[str, Any]) -> tuple[Line, ...]:
        if self._job == "caption":
            return (caption_line(row),)
        if self._job == "answer":
            return answer_lines(row["results"] or ()) if "results" in row else answer_lines([row])
        if self._job == "tag":
            return tuple(Line("other opinion", (said,)) for said in other_opinion(row, "tags"))
        if self._job == "fill" and row["error_code"] is not None and row["object_json"]:
            return (Line("written so far", (ScoredText(text_of(row["object_json"])),)),)
        if self._job == "instruct":
            return tuple(line for each in row.get("results") or [row] for line in conversation_lines(each))
        return ()

    def _further_lines(self, row: Mapping[str, Any]) -> tuple[Line, ...]:
        return tuple(Line(name, (ScoredText(text_of(row[name])),)) for name in self._further if row[name] is not None)


def name_of_job(job: str) -> str:
    """Return the command that a person gives for a job."""
    return "answer --schema" if job == "fill" else job


def _opinion_columns(job: str, columns: Sequence[str]) -> set[str]:
    """Return the columns of two models' opinions, in a run that has them."""
    said = (f"{which}_{part}" for which in ("first", "second") for part in (_COMPARED.get(job, job), "score"))
    found = {"decided_by", "agrees", *said}
    return found if found <= set(columns) else set()


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a RETRIEVE row."""
    if row["status"] != schema.STATUS_OK:
        return Verdict(None, None, (), one_line(f"{row['error_code']}: {row['error_message']}"))
    lines = []
    for each in row["scores"] or ():
        values = () if each["score"] is None else (ScoredText(each["answer"] or "yes", each["score"]),)
        lines.append(Line(each["question"], values))
    return Verdict(row["match"], row["score"], tuple(lines))


def tag_attributes(table: pa.Schema) -> list[str]:
    """Return the attributes of a TAG schema: columns with a column of scores beside them."""
    return [
        name
        for name in table.names
        if f"{name}_score" in table.names
        and _is_score(table.field(f"{name}_score").type)
        and name not in ("answer", "caption")
    ]


def further_columns(columns: Sequence[str], attribute: str) -> tuple[str, ...]:
    """Return the path, reason and rank of an attribute; kept columns of such a name are none of them."""
    own = columns[: columns.index("status")] if "status" in columns else ()
    return tuple(name for kind in ("path", "reason", "rank") if (name := f"{attribute}_{kind}") in own)


def title_of(row: Mapping[str, Any]) -> str:
    """Return the title of a row: its image_id, else its URI, else its row_id."""
    return str(row.get("image_id") or row.get("image_uri") or f"row {row['row_id']}")


def fields_of(row: Mapping[str, Any]) -> tuple[Field, ...]:
    """All values of a row that are not null, in the order of its columns."""
    return tuple(Field(name, text_of(value)) for name, value in row.items() if value is not None)


def text_of(value: Any) -> str:
    """Return a value as text for a person, cut to a readable length; structs of a list stand on lines of their own."""
    if isinstance(value, str):
        shown = value
    elif isinstance(value, bool):
        shown = "yes" if value else "no"
    elif isinstance(value, float):
        shown = f"{value:.6g}"
    elif isinstance(value, bytes | bytearray | memoryview):
        shown = f"{len(value):,} bytes"
    elif isinstance(value, Mapping):
        shown = " · ".join(f"{name}: {text_of(each)}" for name, each in value.items() if each is not None)
    elif isinstance(value, Sequence):
        more = ["…"] if len(value) > _SHOWN_ITEMS else []
        separator = "\n" if value and isinstance(value[0], Mapping) else ", "
        shown = separator.join([text_of(each) for each in value[:_SHOWN_ITEMS]] + more)
    elif isinstance(value, datetime | date | time):
        shown = value.isoformat()
    else:
        shown = str(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 1] + "…"


def _scored(value: Any, score: Any) -> tuple[ScoredText, ...]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    scores = score if isinstance(score, list) else [score] * len(values)
    return tuple(ScoredText(text_of(each), of) for each, of in zip(values, scores, strict=False))


def _is_score(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_floating(data_type.value_type if pa.types.is_list(data_type) else data_type))

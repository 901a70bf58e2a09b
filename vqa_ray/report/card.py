"""Cards: plain data about one image for a page, made of output rows and, where known, the truth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from vqa_ray.conversation.conversation import IMAGE_MARKER
from vqa_ray.schema import STATUS_OK
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.text import normalise


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text about an image with its score in 0..1; None for no score."""

    text: str
    score: float | None = None

    @property
    def percent(self) -> int:
        """The score as the length of a bar, 0..100."""
        return round(100 * min(1.0, max(0.0, self.score or 0.0)))


@dataclass(frozen=True, slots=True)
class Line:
    """A question or an attribute with its answers.

    Attributes:
        label: the question, or the name of the attribute.
        values: the answers, best first; empty for none.
        truth: the right answer; None where it is not known.
        right: whether the first answer is the truth; None where the truth is not known.
    """

    label: str
    values: tuple[ScoredText, ...] = ()
    truth: str | None = None
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A box that a model gave: its edges in pixels of the upright image, as outputs hold them."""

    label: str
    x0: float
    y0: float
    x1: float
    y1: float

    def outline(self, height: int, width: int) -> Outline:
        """Return the outline over an image of this size, cut at its edges."""
        left, right = (100 * min(max(x / width, 0.0), 1.0) for x in sorted((self.x0, self.x1)))
        top, bottom = (100 * min(max(y / height, 0.0), 1.0) for y in sorted((self.y0, self.y1)))
        return Outline(self.label, left, top, right - left, bottom - top)


@dataclass(frozen=True, slots=True)
class Outline:
    """A box over a picture, in percent of its width and height."""

    label: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Card:
    """One image.

    Attributes:
        title: what the image is called.
        image: the encoded file, or a smaller copy of it; None for no picture.
        tags: texts that a page can be filtered by.
        lines: attributes and questions with their answers.
        error_code: why there is no result; None for a result.
        error_message: the same, in one line.
        warning: a problem that the row was answered in spite of.
        boxes: what the model pointed at.
        image_size: (height, width) in pixels of the image itself, where `image` is a smaller copy.
    """

    title: str
    image: bytes | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    error_code: str | None = None
    error_message: str | None = None
    warning: str | None = None
    boxes: tuple[PixelBox, ...] = ()
    image_size: tuple[int, int] | None = None

    @property
    def status(self) -> str:
        """`error`, `wrong` (a line is), `right` (all lines with known truth are), or `answered` (no truth known)."""
        if self.error_code is not None:
            return "error"
        judged = [line.right for line in self.lines if line.right is not None]
        return "answered" if not judged else "right" if all(judged) else "wrong"

    @property
    def wrong_lines(self) -> int:
        """The number of lines that are known to be wrong."""
        return sum(line.right is False for line in self.lines)

    @property
    def search_text(self) -> str:
        """All text on the card, in lower case."""
        texts = [part for line in self.lines for part in (line.label, *(each.text for each in line.values), line.truth)]
        labels = (box.label for box in self.boxes)
        parts = [self.title, *self.tags, *texts, *labels, self.error_code, self.error_message, self.warning]
        return " ".join(part for part in parts if part).lower()

    def outlines(self, size: tuple[int, int]) -> tuple[Outline, ...]:
        """Return the outlines of `boxes` over an image of this (height, width)."""
        return tuple(box.outline(*size) for box in self.boxes)


def tag_lines(
    row: Mapping[str, Any], taxonomy: Taxonomy, truth: Mapping[str, Collection[str]] | None = None
) -> tuple[Line, ...]:
    """Return the lines of one TAG row.

    Args:
        row: of a run of `tag`.
        taxonomy: of the run.
        truth: attribute → its right choices (possibly none); attributes that are missing are not judged.
    """
    return tuple(
        _tag_line(row, attribute.columns, (truth or {}).get(attribute.name)) for attribute in taxonomy.attributes
    )


def _tag_line(row: Mapping[str, Any], columns: tuple[str, str], right: Collection[str] | None) -> Line:
    value, score = (row[column] for column in columns)
    values = value if isinstance(value, list) else [] if value is None else [value]
    scores = score if isinstance(score, list) else [score] * len(values)
    texts = tuple(ScoredText(text, each) for text, each in zip(values, scores, strict=True))
    if right is None:
        return Line(columns[0], texts)
    return Line(columns[0], texts, ", ".join(sorted(right)) or "none", set(values) == set(right))


def answer_lines(results: Iterable[Mapping[str, Any]], truth: Mapping[str, str] | None = None) -> tuple[Line, ...]:
    """Return the lines of answered questions, each with its three best answers and the other model's answer of two.

    Args:
        results: ANSWER rows, or the `results` of an ANSWERS row.
        truth: question → the right answer; questions that are missing are not judged.
    """
    return tuple(_answer_line(result, (truth or {}).get(result["question"])) for result in results)


def _answer_line(result: Mapping[str, Any], right: str | None) -> Line:
    answers: Sequence[Mapping[str, Any]] = (result["answers"] or [])[:3]
    texts = (*(ScoredText(each["answer"], each["score"]) for each in answers), *other_opinion(result, "answer"))
    # A row that failed may have no question.
    label = result["question"] or "(no question)"
    if right is None:
        return Line(label, texts)
    agrees = result["answer"] is not None and normalise(result["answer"]) == normalise(right)
    return Line(label, texts, right, agrees)


def conversation_lines(row: Mapping[str, Any]) -> tuple[Line, ...]:
    """Return the lines of one INSTRUCT row: a question with its answer each, or the error with the reply."""
    if row["conversation"] is None:
        return (Line(f"{row['task']}: {row['error_code']}", (ScoredText(row["reply"] or row["error_message"] or ""),)),)
    texts = [cell["text"].removeprefix(IMAGE_MARKER).strip() for cell in row["conversation"]]
    return tuple(
        Line(f"{row['task']}: {question}", (ScoredText(answer, row.get("agreement")),))
        for question, answer in zip(texts[::2], texts[1::2], strict=True)
    )


def caption_line(row: Mapping[str, Any]) -> Line:
    """Return the line of one CAPTION row."""
    texts = () if row["caption"] is None else (ScoredText(row["caption"], row["caption_score"]),)
    return Line("caption", (*texts, *other_opinion(row, "caption")))


def other_opinion(row: Mapping[str, Any], value: str) -> tuple[ScoredText, ...]:
    """Return what the model that does not decide said, where two models were asked; empty for one.

    Args:
        row: of a run, or one of its `results`.
        value: the column that the models are compared by: `answer`, `caption`, `tags`.
    """
    other = {"first": "second", "second": "first"}.get(row.get("decided_by") or "")
    said = None if other is None else row.get(f"{other}_{value}")
    if said is None:
        return ()
    text = said if isinstance(said, str) else ", ".join(said) or "none"
    return (ScoredText(f"{other} model: {text}", row[f"{other}_score"]),)


def pixel_boxes(results: Iterable[Mapping[str, Any]]) -> tuple[PixelBox, ...]:
    """Return the boxes of ANSWER or CAPTION rows, or of the `results` of an ANSWERS row; each once."""
    boxes = (box for result in results for box in result.get("boxes") or ())
    return tuple(dict.fromkeys(PixelBox(**{**box, "label": box["label"] or ""}) for box in boxes))


class Problems(TypedDict, total=False):
    """The card fields of `failure`."""

    error_code: str | None
    error_message: str | None
    warning: str | None


def failure(row: Mapping[str, Any]) -> Problems:
    """Return the card fields with the error or the warning of an output row."""
    if row["status"] == STATUS_OK:
        return {"warning": row["warning"]}
    return {"error_code": row["error_code"], "error_message": row["error_message"], "warning": row["warning"]}

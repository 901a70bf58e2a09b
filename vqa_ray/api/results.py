"""Results of a model as small objects that print well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.schema import STATUS_OK
from vqa_ray.types import FinishReason

_DIGITS = 3


class PixelBox(NamedTuple):
    """A labelled rectangle: left, upper, right and lower edge in pixels of the source image, turned upright."""

    label: str
    x0: float
    y0: float
    x1: float
    y1: float


class _Printed:
    """An object whose `repr` leaves out fields that are empty, and rounds scores to three digits."""

    __slots__ = ()

    def __repr__(self) -> str:
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.repr}  # type: ignore[arg-type]
        shown = ", ".join(f"{name}={_rounded(value)!r}" for name, value in given.items() if value or value == 0)
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, slots=True, repr=False)
class AnswerResult(_Printed):
    """An answer to one question about one image.

    Attributes:
        text: the answer.
        score: of the answer; what it means depends on the model, see `Model.score_meaning`. None where an endpoint
            gives no log-probabilities.
        alternatives: (answer, score) of the next best answers, at most `top_k - 1`.
        finish_reason: `stop`, or `length` where the text was cut; None where it was chosen from a vocabulary.
        warning: a restriction of the answer, such as a question cut to the model's limit; None without one.
        boxes: the places that the answer points at; of models that point at things.
        question: the question.
    """

    text: str
    score: float | None
    alternatives: tuple[tuple[str, float], ...] = ()
    finish_reason: FinishReason | None = None
    warning: str | None = None
    boxes: tuple[PixelBox, ...] = ()
    question: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class CaptionResult(_Printed):
    """A caption of one image; the attributes are those of `AnswerResult`."""

    text: str
    score: float | None
    finish_reason: FinishReason | None = None
    warning: str | None = None
    boxes: tuple[PixelBox, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class TagResult(_Printed):
    """The tags of one image.

    Attributes:
        tags: `attribute:choice` of every choice that reached its threshold.
        values: attribute → its choice or None; of an attribute with `multi: true` the list of its choices.
        scores: attribute → choice → score, of the choices that were asked about.
        warning: a restriction of the result; None without one.
    """

    tags: tuple[str, ...]
    values: Mapping[str, str | list[str] | None] = field(repr=False)
    scores: Mapping[str, Mapping[str, float]] = field(repr=False)
    warning: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class FillResult(_Printed):
    """An object of typed fields about one image.

    Attributes:
        values: field → value; None for a field that is null or left out.
        scores: field → score, in the shape of the value; None where it is unknown.
        text: the object as JSON.
        finish_reason: `stop`; None of a model that fills fields by scores.
        warning: a restriction of the object; None without one.
    """

    values: Mapping[str, Any]
    scores: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)
    finish_reason: FinishReason | None = field(default=None, repr=False)
    warning: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ScoreResult(_Printed):
    """The scores of given choices as the answer to one question.

    Attributes:
        scores: choice → score, NaN for a choice that the model cannot say.
        warning: a restriction of the result; None without one.
    """

    scores: Mapping[str, float]
    warning: str | None = None

    @property
    def best(self) -> str:
        """The choice with the highest score."""
        return max(self.scores, key=lambda choice: (self.scores[choice] == self.scores[choice], self.scores[choice]))


# A result, or the reason why there is none.
Answered: TypeAlias = AnswerResult | RowError
Scored: TypeAlias = ScoreResult | RowError
Tagged: TypeAlias = TagResult | RowError
Captioned: TypeAlias = CaptionResult | RowError
Filled: TypeAlias = FillResult | RowError
AnsweredRows: TypeAlias = list[list[Answered]]
ScoredRows: TypeAlias = list[list[Scored]]


def error_of(row: Mapping[str, Any]) -> RowError | None:
    """Return the error of an output row; None where it has none."""
    if row["status"] == STATUS_OK:
        return None
    return RowError(ErrorCode(row["error_code"]), row["error_message"])


def answer_of(row: Mapping[str, Any]) -> AnswerResult:
    """Return the answer of an ANSWER row."""
    alternatives = tuple((each["answer"], each["score"]) for each in row["answers"][1:])
    return AnswerResult(
        row["answer"],
        row["answer_score"],
        alternatives,
        row["finish_reason"],
        row["warning"],
        _boxes_of(row),
        row["question"],
    )


def caption_of(row: Mapping[str, Any]) -> CaptionResult:
    """Return the caption of a CAPTION row."""
    return CaptionResult(row["caption"], row["caption_score"], row["finish_reason"], row["warning"], _boxes_of(row))


def tags_of(row: Mapping[str, Any], attributes: Mapping[str, str]) -> TagResult:
    """Return the tags of a row of `schema.tag_schema`.

    Args:
        row: the row.
        attributes: attribute → the column of its choice.
    """
    scores: dict[str, dict[str, float]] = {name: {} for name in attributes}
    for each in row["tag_scores"]:
        scores[each["attribute"]][each["choice"]] = each["score"]
    values = {name: row[column] for name, column in attributes.items()}
    return TagResult(tuple(row["tags"]), values, scores, row["warning"])


def object_of(row: Mapping[str, Any], names: Sequence[str]) -> FillResult:
    """Return the object of a row of `ObjectSchema.form`, whose fields have these names."""
    values, scores = ({name: row[f"{name}{end}"] for name in names} for end in ("", "_score"))
    return FillResult(values, scores, row["object_json"], row["finish_reason"], row["warning"])


def _boxes_of(row: Mapping[str, Any]) -> tuple[PixelBox, ...]:
    return tuple(PixelBox(**box) for box in row.get("boxes") or ())


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(_rounded, value))
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return value

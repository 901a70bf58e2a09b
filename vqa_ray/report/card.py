"""What a gallery shows of one image: plain data, made from output rows and, where it is known, the truth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from vqa_ray.errors import RowError
from vqa_ray.images.decode import ImageLimits, decode
from vqa_ray.schema import STATUS_OK
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.text import normalise

THUMBNAIL_SIDE = 320
_THUMBNAIL_QUALITY = 78


@dataclass(frozen=True, slots=True)
class Scored:
    """Something said of an image, and its score in 0..1 (None when there is none)."""

    text: str
    score: float | None = None

    @property
    def percent(self) -> int:
        """The score as the length of a bar, 0..100."""
        return round(100 * min(1.0, max(0.0, self.score or 0.0)))


@dataclass(frozen=True, slots=True)
class Line:
    """One attribute tagged or one question asked.

    Attributes:
        asked: the attribute's name or the question.
        said: what was given, best first; empty for nothing.
        truth: what is right, or None when that is not known.
        right: whether `said` is the truth, or None when that is not known.
    """

    asked: str
    said: tuple[Scored, ...] = ()
    truth: str | None = None
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Something that was pointed at: edges in pixels of the upright image, as outputs hold them."""

    label: str
    x0: float
    y0: float
    x1: float
    y1: float

    def percent(self, height: int, width: int) -> tuple[float, float, float, float]:
        """(left, top, width, height) in percent of an image of this size, cut at its edges."""
        left, right = (100 * min(max(x / width, 0.0), 1.0) for x in sorted((self.x0, self.x1)))
        top, bottom = (100 * min(max(y / height, 0.0), 1.0) for y in sorted((self.y0, self.y1)))
        return left, top, right - left, bottom - top


@dataclass(frozen=True, slots=True)
class Card:
    """One image. `image` is encoded bytes of any kind that the project reads; None when there are none."""

    title: str
    image: bytes | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    error_code: str | None = None
    error_message: str | None = None
    warning: str | None = None
    boxes: tuple[Placed, ...] = ()

    @property
    def status(self) -> str:
        """`error`, `wrong` (something is), `right` (all that can be judged is), or `answered`."""
        if self.error_code is not None:
            return "error"
        judged = [line.right for line in self.lines if line.right is not None]
        return "answered" if not judged else "right" if all(judged) else "wrong"

    @property
    def wrong_lines(self) -> int:
        """How many lines are known to be wrong."""
        return sum(line.right is False for line in self.lines)

    @property
    def search_text(self) -> str:
        """Everything on the card, in lower case."""
        said = [part for line in self.lines for part in (line.asked, *(each.text for each in line.said), line.truth)]
        labels = (box.label for box in self.boxes)
        parts = [self.title, *self.tags, *said, *labels, self.error_code, self.error_message, self.warning]
        return " ".join(part for part in parts if part).lower()


def tag_lines(
    row: Mapping[str, Any], taxonomy: Taxonomy, truth: Mapping[str, Collection[str]] | None = None
) -> tuple[Line, ...]:
    """The lines of one TAG row.

    Args:
        row: the row as a mapping.
        taxonomy: what it was tagged with.
        truth: attribute name → the choices that are right (none is a truth too); attributes that are not there are
            not judged.
    """
    return tuple(
        _tag_line(row, attribute.columns, (truth or {}).get(attribute.name)) for attribute in taxonomy.attributes
    )


def _tag_line(row: Mapping[str, Any], columns: tuple[str, str], right: Collection[str] | None) -> Line:
    value, score = (row[column] for column in columns)
    values = value if isinstance(value, list) else [] if value is None else [value]
    scores = score if isinstance(score, list) else [score] * len(values)
    said = tuple(Scored(text, each) for text, each in zip(values, scores, strict=True))
    if right is None:
        return Line(columns[0], said)
    return Line(columns[0], said, ", ".join(sorted(right)) or "none", set(values) == set(right))


def answer_lines(
    results: Iterable[Mapping[str, Any]], truth: Mapping[str, str] | None = None, top_k: int = 3
) -> tuple[Line, ...]:
    """The lines of answered questions.

    Args:
        results: ANSWER rows, or the `results` of an ANSWERS row.
        truth: question → the right answer; questions that are not there are not judged.
        top_k: how many answers to show of each.
    """
    return tuple(_answer_line(result, (truth or {}).get(result["question"]), top_k) for result in results)


def _answer_line(result: Mapping[str, Any], right: str | None, top_k: int) -> Line:
    answers: Sequence[Mapping[str, Any]] = (result["answers"] or [])[:top_k]
    said = tuple(Scored(each["answer"], each["score"]) for each in answers)
    if right is None:
        return Line(result["question"], said)
    agrees = result["answer"] is not None and normalise(result["answer"]) == normalise(right)
    return Line(result["question"], said, right, agrees)


def caption_line(row: Mapping[str, Any]) -> Line:
    """The line of one CAPTION row."""
    said = () if row["caption"] is None else (Scored(row["caption"], row["caption_score"]),)
    return Line("caption", said)


def placed(results: Iterable[Mapping[str, Any]]) -> tuple[Placed, ...]:
    """What outputs point at: of ANSWER or CAPTION rows, or of the `results` of an ANSWERS row; each place once."""
    boxes = (Placed(**{**box, "label": box["label"] or ""}) for result in results for box in result.get("boxes") or ())
    return tuple(dict.fromkeys(boxes))


class Told(TypedDict, total=False):
    """The card fields of `failure`."""

    error_code: str | None
    error_message: str | None
    warning: str | None


def failure(row: Mapping[str, Any]) -> Told:
    """The card fields that tell why an output row has no answer, or what it lived through."""
    if row["status"] == STATUS_OK:
        return {"warning": row["warning"]}
    return {"error_code": row["error_code"], "error_message": row["error_message"], "warning": row["warning"]}


def upright_size(data: bytes | None) -> tuple[int, int] | None:
    """(height, width) in pixels of an image, turned upright; None where there is none that can be read."""
    if not data:
        return None
    try:
        height, width = decode(data, ImageLimits()).shape[:2]
    except RowError:
        return None
    return height, width


def thumbnail(data: bytes | None, side: int = THUMBNAIL_SIDE) -> bytes | None:
    """A JPEG whose longer side has at most `side` pixels; None where there is no image that can be read."""
    if not data:
        return None
    from io import BytesIO

    from PIL import Image

    try:
        picture = Image.fromarray(decode(data, ImageLimits(), draft_for=(side, side)))
    except RowError:
        return None
    picture.thumbnail((side, side))
    encoded = BytesIO()
    picture.save(encoded, "JPEG", quality=_THUMBNAIL_QUALITY, optimize=True)
    return encoded.getvalue()

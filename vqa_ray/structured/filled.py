"""An object that a model wrote: checked by its schema, each value with its score."""

from __future__ import annotations

import json
import math
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from vqa_ray.errors import ErrorCode, RowError, one_line
from vqa_ray.structured.field import Field
from vqa_ray.structured.limits import WIDEST_INTEGER, broken_limits
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.types import WrittenObject

# A number, or lists and mappings of them in the shape of the value.
Scores: TypeAlias = Any

_DECODER = json.JSONDecoder()
_SPACE = (" ", "\t", "\n", "\r")


@dataclass(frozen=True, slots=True)
class FilledObject:
    """The values and scores of an object.

    Attributes:
        values: field → value, None for one that is null or left out.
        scores: field → score, in the shape of the value; None where it is unknown.
        text: the object as JSON, without the fields that it leaves out.
        warning: what happened on the way, or None.
    """

    values: Mapping[str, Any]
    scores: Mapping[str, Scores]
    text: str
    warning: str | None = None


def read_object(schema: ObjectSchema, written: WrittenObject) -> FilledObject:
    """Read an object that was written, and check it.

    Raises:
        RowError: `schema_unfinished` when it was cut at the limit of new tokens; `schema_violated` when it is no JSON,
            or not valid by the schema.
    """
    text = written.text
    if written.finish_reason == "length":
        raise RowError(ErrorCode.SCHEMA_UNFINISHED, f"the object was not complete after {_count(written)}: {text}")
    scorer = None if written.log_probabilities is None else TokenScores(written.tokens, written.log_probabilities)
    try:
        values, scores = _Reader(text, scorer).object(schema.fields, "")
    except (ValueError, RecursionError) as error:
        raise RowError(ErrorCode.SCHEMA_VIOLATED, f"{one_line(error, 120)}; the model wrote {text}") from error
    return FilledObject(values, scores, to_json(schema.fields, values), written.warning)


def to_json(fields: Sequence[Field], values: Mapping[str, Any]) -> str:
    """Return an object as JSON without white space, and without the fields that it leaves out."""
    return json.dumps(_document(fields, values), ensure_ascii=False, separators=(",", ":"))


def _document(fields: Sequence[Field], values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields:
        value = values[field.name]
        if field.kind == "object" and value is not None:
            found[field.name] = _document(field.fields, value)
        elif field.item and field.item.kind == "object" and value is not None:
            found[field.name] = [each and _document(field.item.fields, each) for each in value]
        elif value is not None or field.nullable:
            found[field.name] = value
    return found


def _count(written: WrittenObject) -> str:
    return f"{len(written.tokens)} tokens" if written.tokens else "--max-new-tokens"


class TokenScores:
    """Probabilities of the parts of a text.

    Args:
        tokens: of the text, as bytes of UTF-8.
        log_probabilities: of the tokens.
    """

    def __init__(self, tokens: Sequence[bytes], log_probabilities: Sequence[float]) -> None:
        self._starts = list(accumulate(map(len, tokens), initial=0))[:-1]
        self._ends = list(accumulate(map(len, tokens)))
        self._log_probabilities = log_probabilities

    def score(self, start: int, end: int, *, closed: bool) -> float:
        """Return the probability of the tokens that hold a byte of `[start, end)`: their product, or geometric mean."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        total = math.fsum(self._log_probabilities[first:last])
        return math.exp(total if closed else total / max(1, last - first))


class _Reader:
    """Reads one text; a value that is not valid raises ValueError."""

    def __init__(self, text: str, scores: TokenScores | None) -> None:
        self._text, self._scores = text, scores
        self._place = 0

    def object(self, fields: Sequence[Field], path: str) -> tuple[dict[str, Any], dict[str, Scores]]:
        """Read an object, the whole text where `path` is empty."""
        by_name = {field.name: field for field in fields}
        values: dict[str, Any] = {}
        scores: dict[str, Scores] = {}
        self._take("{")
        while not values or self._peek() == ",":
            if values:
                self._take(",")
            elif self._peek() == "}":
                break
            name, _ = self._plain()
            if not isinstance(name, str) or name not in by_name or name in values:
                raise ValueError(f"{path}{one_line(name, 40)}: is no field of the schema, or stands there twice")
            self._take(":")
            values[name], scores[name] = self._value(by_name[name], f"{path}{name}")
        self._take("}")
        if not path and self._peek():
            raise ValueError("text stands behind the object")
        for field in fields:
            if field.name not in values:
                if field.required:
                    raise ValueError(f"{path}{field.name}: is missing")
                values[field.name] = scores[field.name] = None
        return values, scores

    def _value(self, field: Field, path: str) -> tuple[Any, Scores]:
        opening = self._peek()
        if opening == "{" and field.kind == "object":
            return self.object(field.fields, f"{path}.")
        if opening == "[" and field.item:
            return self._array(field, field.item, path)
        value, start = self._plain()
        found = _checked(field, value, path)
        if field.kind in ("array", "object"):
            return None, None
        # The token in front may decide between null and text: `":` or `":"`. The token behind a number ends it.
        start -= field.may_be_null
        end = self._place + (isinstance(value, int | float) and not isinstance(value, bool))
        return found, self._score(start, end, closed=field.is_closed or value is None)

    def _array(self, field: Field, item: Field, path: str) -> tuple[list[Any], list[Scores]]:
        values: list[Any] = []
        scores: list[Scores] = []
        self._take("[")
        while self._peek() != "]":
            if values:
                self._take(",")
            value, score = self._value(item, f"{path}[{len(values)}]")
            values.append(value)
            scores.append(score)
        self._take("]")
        _require_limits(field, values, path)
        return values, scores

    def _plain(self) -> tuple[Any, int]:
        self._peek()
        start = self._place
        value, self._place = _DECODER.raw_decode(self._text, start)
        return value, start

    def _peek(self) -> str:
        while self._text[self._place : self._place + 1] in _SPACE:
            self._place += 1
        return self._text[self._place : self._place + 1]

    def _take(self, mark: str) -> None:
        if self._peek() != mark:
            raise ValueError(f"wanted {mark!r} at character {self._place + 1}")
        self._place += 1

    def _score(self, start: int, end: int, *, closed: bool) -> float | None:
        if self._scores is None:
            return None
        if not self._text.isascii():
            start, end = (len(self._text[:place].encode()) for place in (start, end))
        return self._scores.score(start, end, closed=closed)


def _checked(field: Field, value: Any, path: str) -> Any:
    """Return a plain value as its column holds it."""
    if value is None and field.may_be_null:
        return None
    kinds: dict[str, type | tuple[type, ...]] = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}
    fits = isinstance(value, kinds.get(field.kind, ())) and isinstance(value, bool) == (field.kind == "boolean")
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{path}: is no {field.kind}")
    if field.choices and value not in field.choices:
        raise ValueError(f"{path}: {one_line(repr(value), 60)} is not one of its values")
    if field.kind == "integer" and abs(value) >= WIDEST_INTEGER:
        raise ValueError(f"{path}: is larger than 64 bits hold")
    if isinstance(value, str):
        value.encode()
    _require_limits(field, value, path)
    if field.kind == "number" and abs(value) > sys.float_info.max:
        raise ValueError(f"{path}: is larger than a number of 64 bits holds")
    return float(value) if field.kind == "number" else value


def _require_limits(field: Field, value: Any, path: str) -> None:
    broken = broken_limits(value, field.limits)
    if broken:
        raise ValueError(f"{path}: {one_line(repr(value), 60)} does not keep to {broken[0]}")

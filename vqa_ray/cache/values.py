"""What models return as JSON text: exactly, but for what an endpoint took for it, which is nothing the next time."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, TypeAlias

from vqa_ray.types import Answer, Box, ChoiceScores, Usage, WrittenObject

Result: TypeAlias = Answer | ChoiceScores | WrittenObject
# The field that only this kind of result has.
_KINDS: dict[str, type[Result]] = {"answers": Answer, "scores": ChoiceScores, "tokens": WrittenObject}


def is_sound(result: Result) -> bool:
    """Whether a result may be kept: one with a score that is no number is an error of its row, or may become one."""
    if isinstance(result, ChoiceScores):
        return all(map(math.isfinite, result.scores))
    if isinstance(result, WrittenObject):
        return all(map(math.isfinite, result.log_probabilities or ()))
    return bool(result.answers) and (result.is_unscored or all(math.isfinite(score) for _, score in result.answers))


def to_json(result: Result) -> str:
    """Write a sound result; fields that have their default are left out."""
    content = {
        field.name: _plain(value)
        for field in dataclasses.fields(result)
        if (value := getattr(result, field.name)) != field.default
    }
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Box):
        return _plain(dataclasses.astuple(value))
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Usage):
        # An answer that is found takes nothing; whether it had a price stays.
        return value.cost is not None
    if value is None or isinstance(value, str | bool | int):
        return value
    # Of NumPy, too; the score of an unscored answer is no number.
    return None if math.isnan(value) else float(value)


def from_json(text: str) -> Result:
    """Read what `to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """
    content = {name: _tuples(value) for name, value in json.loads(text).items()}
    if "usage" in content:
        content["usage"] = Usage(cost=0.0 if content["usage"] else None)
    kind = next(kind for name, kind in _KINDS.items() if name in content)
    if kind is Answer:
        content["answers"] = tuple((said, math.nan if s is None else s) for said, s in content["answers"])
        content["boxes"] = tuple(Box(*each) for each in content.get("boxes", ()))
    if kind is WrittenObject:
        content["tokens"] = tuple(token.encode("latin-1") for token in content["tokens"])
    return kind(**content)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value

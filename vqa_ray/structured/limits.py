"""The keywords of JSON Schema that bound a value: their form, and whether a value keeps to them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import regex

from vqa_ray.errors import one_line
from vqa_ray.structured.field import Kind

_PATTERN_S = 1.0
# Integers from here on fit no column.
WIDEST_INTEGER = 2**63

# Keyword → whether a value keeps to the limit.
_KEPT: Mapping[str, Callable[[Any, Any], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
    "minLength": lambda value, limit: len(value) >= limit,
    "maxLength": lambda value, limit: len(value) <= limit,
    "minItems": lambda value, limit: len(value) >= limit,
    "maxItems": lambda value, limit: len(value) <= limit,
    "pattern": lambda value, limit: _matches(limit, value),
}
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# Kind → its keywords.
LIMITS: Mapping[Kind, tuple[str, ...]] = {
    "string": ("pattern", "minLength", "maxLength"),
    "integer": _NUMBERS,
    "number": _NUMBERS,
    "boolean": (),
    "array": ("minItems", "maxItems"),
    "object": (),
}


def check_limits(limits: Mapping[str, Any]) -> None:
    """Check the form of the limits of a field.

    Raises:
        ValueError: one has a wrong type, the pattern is no regular expression, or no value can keep to all of them.
    """
    for key, limit in limits.items():
        if key == "pattern":
            _check_pattern(limit)
        elif isinstance(limit, bool) or not isinstance(limit, int | float):
            raise ValueError(f"{key} {limit!r}: wanted a number")
        elif isinstance(limit, int) and abs(limit) >= WIDEST_INTEGER:
            raise ValueError(f"{key} of {len(str(abs(limit)))} digits: a whole number is held in 64 bits")
        elif not math.isfinite(limit):
            raise ValueError(f"{key} {limit!r}: wanted a number")
        elif key not in _NUMBERS and (not isinstance(limit, int) or limit < 0):
            raise ValueError(f"{key} {limit!r}: wanted a whole number of at least 0")
    least = [limit for key, limit in limits.items() if key in ("minimum", "exclusiveMinimum", "minLength", "minItems")]
    most = [limit for key, limit in limits.items() if key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems")]
    if least and most and max(least) > min(most):
        raise ValueError(f"no value is at least {max(least)} and at most {min(most)}")


def _check_pattern(pattern: object) -> None:
    if not isinstance(pattern, str):
        raise ValueError(f"pattern {pattern!r}: wanted text")
    try:
        regex.compile(pattern)
    except (regex.error, RecursionError) as error:
        shown = one_line(repr(pattern), 80)
        raise ValueError(f"pattern {shown} is no regular expression: {one_line(error)}") from error


def _matches(pattern: str, value: str) -> bool:
    """Search for a pattern; one that tries too many ways to match, as `(a|aa)+$` does, is not found."""
    try:
        return regex.search(pattern, value, timeout=_PATTERN_S) is not None
    except TimeoutError:
        return False


def broken_limits(value: object, limits: Mapping[str, Any]) -> list[str]:
    """Return the limits that a value does not keep to, as `minimum 3`."""
    return [f"{key} {limit}" for key, limit in limits.items() if not _KEPT[key](value, limit)]

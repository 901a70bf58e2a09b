"""Parts of JSON documents as they are written: the elements of a list, and numbers with all their digits."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping

from vqa_ray.readers.coerce import finite_or_text

_SPACE = re.compile(r"[\s,:]*")
_DECODER = json.JSONDecoder(parse_float=finite_or_text)
# pandas makes floats of integers beside a missing one.
_INTEGER = re.compile(r"(-?\d+)\.0")


def json_members(text: str, array: str) -> Iterator[tuple[str, object, str]]:
    """Yield (key, value, text of the value) of a JSON object.

    For the key `array`, each element comes by itself, so that few of them live at once.

    Raises:
        ValueError: the text is not a JSON object.
    """
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        name, at = _DECODER.raw_decode(text, at)
        key, at = str(name), _skip(text, at)
        if key == array and text[at : at + 1] == "[":
            at = yield from _elements(text, at, key)
        else:
            value, end = _DECODER.raw_decode(text, at)
            yield key, value, text[at:end]
            at = _skip(text, end)


def json_elements(text: str) -> Iterator[str]:
    """Return the texts of the elements of a JSON array."""
    return (part for _, _, part in _elements(text, _skip(text, 0), ""))


def numbers_as_written(text: str | bytes, values: Mapping[str, object], names: Iterable[str]) -> dict[str, str]:
    """Return the fractional numbers among some members of a JSON object, as text: `1.10` and `1e3` as they are written.

    Args:
        text: of the object.
        values: the object.
        names: of the members.
    """
    fractions = [name for name in names if type(values.get(name)) is float]
    if not fractions:
        return {}
    written = json.loads(text, parse_float=_written)
    return {name: written[name] for name in fractions}


def _written(number: str) -> str:
    integer = _INTEGER.fullmatch(number)
    return integer[1] if integer else number


def _elements(text: str, at: int, key: str) -> Generator[tuple[str, object, str], None, int]:
    """Yield the elements of the array at a place; returns the place of what follows it."""
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        value, end = _DECODER.raw_decode(text, at)
        yield key, value, text[at:end]
        at = _skip(text, end)
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at

"""The options of a multiple-choice question, and the right one of them, as published files state them."""

from __future__ import annotations

import ast
import json
import math
import string
from collections.abc import Iterable, Mapping
from typing import Any

# Columns of truth: role → names that published files use. Options stand in one column, or in a column a letter.
OPTION_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "choices": ("choices", "options", "index2ans"),
    **{letter: (letter, f"choice_{letter.lower()}") for letter in "ABCDEFGHIJ"},
}
# What a letter may be where the truth states no options.
UNSTATED = dict.fromkeys("ABCDE", "")


def options_of(truth: Mapping[str, Any]) -> dict[str, str]:
    """Return letter → text of the options, in order; empty where the truth states none.

    Raises:
        ValueError: a letter is missing, or the column of options cannot be read.
    """
    stated = truth.get("choices")
    if _is_absent(stated):
        lettered = {letter: truth.get(letter) for letter in OPTION_COLUMNS if len(letter) == 1}
        while lettered and _is_absent(next(reversed(lettered.values()))):
            lettered.popitem()
    elif isinstance(stated := listed(stated), Mapping):
        lettered = dict(stated)
    else:
        lettered = dict(zip(string.ascii_uppercase, stated, strict=False))
    for letter, expected in zip(lettered, string.ascii_uppercase, strict=False):
        if letter != expected or _is_nothing(lettered[letter]):
            raise ValueError(f"option {expected} is missing: the options are {', '.join(map(str, lettered))}")
    return {letter: text if isinstance(text, str) else str(text) for letter, text in lettered.items()}


def listed(value: Any) -> Any:
    """Return the list or mapping that a value is or, as text in JSON or Python, spells.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(value)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            break
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ValueError(f"a list is expected, {str(value)[:60]!r} given")
    return value if isinstance(value, Mapping) else list(value)


def texts_of(value: str) -> list[str]:
    """Return the texts of a list that a text spells, such as "['24/7', '3.43']"; none where it spells no such list."""
    if not (value.startswith("[") and value.endswith("]")):
        return []
    try:
        found = listed(value)
    except ValueError:
        return []
    return found if all(isinstance(each, str) for each in found) else []


def right_letter(answer: Any, options: Mapping[str, str]) -> str:
    """Return the letter of the right option, of a letter or of an index that counts from 0.

    Raises:
        ValueError: there is no such option.
    """
    letters = list(options)
    text = str(answer).strip()
    letter = text.upper().strip("().")
    if letter in options:
        return letter
    index = text.removesuffix(".0")
    if index.isdecimal() and int(index[:9]) < len(letters):
        return letters[int(index)]
    allowed = f"{letters[0]} to {letters[-1]}" if letters else "none"
    raise ValueError(f"the answer {text[:60]!r} is none of the options, which are {allowed}")


def _is_absent(value: Any) -> bool:
    return _is_nothing(value) or (isinstance(value, str) and value == "")


def _is_nothing(value: Any) -> bool:
    """Check for what readers make of an empty cell: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))

"""The options of a multiple-choice question, and the right one of them, as published files state them."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from typing import Any

from vqa_ray.evaluation.protocol import Roles
from vqa_ray.evaluation.spelled_list import listed

# Columns of truth: role → names that published files use. Options stand in one column, or in a column a letter.
OPTION_COLUMNS: Roles = {
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

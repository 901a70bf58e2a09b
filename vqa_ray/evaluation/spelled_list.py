"""Lists in a column of truth: as lists, or as text that spells them, as published files do."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any


def answers_of(stated: Any) -> list[str]:
    """Return the right answers that a cell states: one, a list, or a text that spells a list of texts.

    Raises:
        ValueError: there is none.
    """
    if isinstance(stated, str):
        return texts_of(stated) or [stated]
    if stated is None:
        raise ValueError("there is no answer")
    answers = [str(answer) for answer in stated] if isinstance(stated, Iterable) else [str(stated)]
    if not answers:
        raise ValueError("the list of answers is empty")
    return answers


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

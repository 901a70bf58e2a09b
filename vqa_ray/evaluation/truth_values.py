"""Truth as it stands in a column: checked, and in one form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def texts(value: Any, what: str) -> list[str]:
    """Return the texts of a column that holds one text, a list of them, or a list of `{"answer": text}`.

    Raises:
        ValueError: there is none, or one is no text; `what` names them in the message.
    """
    if value is None or isinstance(value, str | dict):
        value = [] if value is None else [value]
    if not isinstance(value, Iterable):
        raise ValueError(f"{what}: {value!r} given, a list of texts is needed")
    found: list[Any] = [each.get("answer") if type(each) is dict else each for each in value]
    if not found:
        raise ValueError(f"no {what}: at least 1 is needed")
    if set(map(type, found)) != {str}:
        wrong = next(each for each in found if type(each) is not str)
        raise ValueError(f"{what}: {wrong!r} among them, a text is needed")
    return found


def one_text(value: Any, what: str) -> str:
    """Return the only text of such a column.

    Raises:
        ValueError: there is not exactly one text.
    """
    found = texts(value, what)
    if len(found) > 1:
        raise ValueError(f"{what}: {len(found)} given, exactly 1 is needed")
    return found[0]


def yes(value: Any, what: str) -> bool:
    """Return whether a truth is yes: a bool, 1 or 0, or "yes" or "no".

    Raises:
        ValueError: it is neither; `what` names it in the message.
    """
    plain = value.strip().lower() if isinstance(value, str) else value
    if plain in (True, "yes", "true", "1"):
        return True
    if plain in (False, "no", "false", "0"):
        return False
    raise ValueError(f"{what}: {value!r} given, yes or no is needed")

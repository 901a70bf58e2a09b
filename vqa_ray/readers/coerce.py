"""Values of the user's, as they come, to the types of our columns; a `row_malformed` error where they do not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vqa_ray.conversation.conversation import IMAGE_MARKER
from vqa_ray.errors import ErrorCode, RowError, one_line
from vqa_ray.storage.redaction import without_url_secrets

INT64 = range(-(2**63), 2**63)


def finite_or_text(number: str) -> float | str:
    """Return a number of JSON with a fraction or an exponent; as it is written where it is beyond float64 (1e999).

    Python would make it infinite.
    """
    value = float(number)
    return value if math.isfinite(value) else number


class Unreadable:
    """Stands for a value whose bytes make no sense as what they are declared to be."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def mismatch(column: str, value: object, wanted: str) -> RowError:
    """Return the error of a value of the wrong kind; it names the column, the value and what is expected."""
    if isinstance(value, Unreadable):
        return RowError(ErrorCode.ROW_MALFORMED, f"column {column!r} holds {value.reason}; expected {wanted}")
    return RowError(ErrorCode.ROW_MALFORMED, f"column {column!r} holds {shown(value)}; expected {wanted}")


def shown(value: object) -> str:
    """Return a value for a message: its beginning, and what it is."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    kind = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "a list"}.get(type(value))
    if isinstance(value, Mapping):
        kind = "an object"
    return f"{one_line(without_url_secrets(repr(value)[:4000]), 60)} ({kind or type(value).__name__})"


def as_reference(value: object, column: str) -> str | None:
    """Return a path or URI; None when it is null or blank.

    Raises:
        RowError: it is not a string, or not Unicode.
    """
    return (as_text(value, column) or "").strip() or None


def as_id(value: object, column: str) -> str | None:
    """Return a scalar as text; None when it is null or blank.

    Bytes that are no printable text are written as hexadecimal.

    Raises:
        RowError: it is not a scalar, or not Unicode.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        value = _bytes_as_id(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise mismatch(column, value, "a string or a finite number")
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise mismatch(column, value, "a string or a number")
    return checked(value, column) if value.strip() else None


def _bytes_as_id(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()


def as_text(value: object, column: str) -> str | None:
    """Return a string or null.

    Raises:
        RowError: it is something else, or not Unicode.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise mismatch(column, value, "a string")
    return checked(value, column)


def as_question(value: object, column: str) -> str | None:
    """Return a question or null; of a dialogue as LLaVA and chat models write it, the one question that a person asks.

    Raises:
        RowError: it is neither, or a person asks several questions.
    """
    if not isinstance(value, list):
        return as_text(value, column)
    turns = [turn for turn in value if isinstance(turn, Mapping)]
    asked = [
        turn.get("value", turn.get("content"))
        for turn in turns
        if turn.get("from", turn.get("role")) in ("human", "user")
    ]
    if not turns or len(turns) != len(value) or len(asked) > 1:
        raise mismatch(column, value, f"a string, or a dialogue with one question (there are {len(asked)})")
    question = as_text(asked[0], column) if asked else None
    return None if question is None else question.replace(IMAGE_MARKER, "").strip()


def as_text_list(value: object, column: str) -> list[str | None]:
    """Return a list of strings or nulls; null is a list of one null.

    Raises:
        RowError: it is something else, or not Unicode.
    """
    if value is None:
        return [None]
    if not isinstance(value, list) or not all(part is None or isinstance(part, str) for part in value):
        raise mismatch(column, value, "a list of strings")
    return [as_text(part, column) for part in value]


def as_turns(value: object, column: str) -> list[tuple[str, str]]:
    """Return a list of earlier (question, answer), oldest first; null is an empty one.

    Raises:
        RowError: it is something else, or not Unicode.
    """
    if value is None:
        return []
    turns = []
    for part in value if isinstance(value, list) else [None]:
        given = part if isinstance(part, Mapping) else {}
        question, answer = (as_text(given.get(name), column) for name in ("question", "answer"))
        if question is None or answer is None:
            raise mismatch(column, value, "a list of objects with a question and an answer")
        turns.append((question, answer))
    return turns


def as_int64(value: object, column: str) -> int | None:
    """Return a whole number of 64 bits or null.

    Raises:
        RowError: it is something else, or does not fit.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value not in INT64:
        raise mismatch(column, value, "an int64")
    return value


def checked(value: str, column: str) -> str:
    """`value`, if it can be written as UTF-8.

    Raises:
        RowError: it holds half of a surrogate pair, as broken JSON escapes do.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise mismatch(column, Unreadable("text that is not Unicode"), "valid text") from None
    return value

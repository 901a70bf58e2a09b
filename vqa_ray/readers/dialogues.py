"""Dialogues as LLaVA, chat models and our own runs write them, to the turns of a conversation and its images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vqa_ray.conversation.conversation import IMAGE_MARKER, Role, Turn, tidy
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.coerce import as_text, checked, mismatch, shown

_ROLES: Mapping[str, Role | str] = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model", "bot"), "assistant"),
    "system": "system",
}
_OWN_IMAGE = ("image", "image_url", "url", "image_uri", "path", "base64", "bytes")


@dataclass(slots=True)
class Dialogue:
    """What a dialogue says.

    Attributes:
        system: its instructions, or None.
        turns: their texts have a marker where an image is shown.
        images: of each marker: the number of one of the row's images, from 0; None for the next one; or the image.
    """

    system: str | None = None
    turns: list[Turn] = field(default_factory=list)
    images: list[object] = field(default_factory=list)


def parse_dialogue(value: object, column: str) -> Dialogue:
    """Read a dialogue: `{"from", "value"}`, `{"role", "content"}` with text or parts, or `{"question", "answer"}`.

    Args:
        value: a list of objects, or the JSON of one.
        column: it stands in, for messages.

    Raises:
        RowError: a role is unknown or out of turn, a text is missing, an answer shows an image, or no answer ends it.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise mismatch(column, value, "a list of turns") from None
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise mismatch(column, value, "a list of turns, objects with from and value, or role and content")
    dialogue = Dialogue()
    for number, (role, content) in enumerate(_said(value, column), start=1):
        where = f"column {column!r}, turn {number}"
        text, images = _text(content, column, where)
        if role == "system":
            if number > 1:
                raise _malformed(f"{where} is a system prompt, which can only come first")
            dialogue.system = text or None
        _append(dialogue, role, text, images, where)
    return dialogue


def _append(dialogue: Dialogue, role: str, text: str, images: list[object], where: str) -> None:
    if role != "user" and images:
        raise _malformed(f"{where}, of the {role}, shows an image; only the user's turns can")
    if role == "system":
        return
    wanted = "assistant" if len(dialogue.turns) % 2 else "user"
    if role != wanted:
        raise _malformed(f"{where} is the {role}'s; expected is one of the {wanted}")
    if not text:
        code = ErrorCode.QUESTION_MISSING if role == "user" else ErrorCode.ANSWER_MISSING
        raise RowError(code, f"{where}, of the {role}, is empty")
    dialogue.turns.append(Turn("user" if role == "user" else "assistant", text))
    dialogue.images += images


def check_complete(dialogue: Dialogue, column: str) -> None:
    """Check that a dialogue has turns and ends with an answer.

    Raises:
        RowError: it does not.
    """
    if not dialogue.turns:
        raise RowError(ErrorCode.QUESTION_MISSING, f"column {column!r} holds no turn")
    if dialogue.turns[-1].role == "user":
        raise RowError(ErrorCode.ANSWER_MISSING, f"column {column!r} ends with a turn of the user, without an answer")


def _said(entries: list[Mapping[str, Any]], column: str) -> Iterator[tuple[str, object]]:
    """Yield (role, content) of each text."""
    for number, entry in enumerate(entries, start=1):
        given = entry.get("from") or entry.get("role")
        if given is None and "question" in entry and "answer" in entry:
            yield "user", entry["question"]
            yield "assistant", entry["answer"]
            continue
        role = _ROLES.get(given.lower()) if isinstance(given, str) else None
        if role is None:
            allowed = ", ".join(_ROLES)
            raise _malformed(f"column {column!r}, turn {number}: the role is {shown(given)}; allowed are: {allowed}")
        content = (entry.get(name) for name in ("value", "content", "text"))
        yield role, next((each for each in content if each is not None), None)


def _text(content: object, column: str, where: str) -> tuple[str, list[object]]:
    """Return the text of a turn, with markers, and what each marker shows."""
    if not isinstance(content, list):
        text = as_text(content, column) or ""
        return tidy(text), [None] * text.count(IMAGE_MARKER)
    text, images = "", list[object]()
    for part in content:
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, Mapping):
            raise _malformed(f"{where} holds {shown(part)}; expected are parts with a type, text or image")
        kind = part.get("type") or ("text" if part.get("text") is not None else "image")
        if kind == "text":
            said = as_text(part.get("text"), column) or ""
            images += [None] * said.count(IMAGE_MARKER)
            text += said
        elif kind in ("image", "image_url", "input_image"):
            images.append(_image(part))
            text += IMAGE_MARKER
        else:
            raise _malformed(f"{where} has a part of type {shown(kind)}; allowed are: text, image, image_url")
    return tidy(text), images


def _image(part: Mapping[str, Any]) -> object:
    name, own = next(((name, part[name]) for name in _OWN_IMAGE if part.get(name) is not None), ("", None))
    if name == "base64" and isinstance(own, str):
        return checked(own if own.startswith("data:") else f"data:image/png;base64,{own}", name)
    if own is not None:
        return own
    index = part.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def _malformed(message: str) -> RowError:
    return RowError(ErrorCode.ROW_MALFORMED, message)

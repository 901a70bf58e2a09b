"""The reply of a teacher as questions and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TypeAlias

from vqa_ray.conversation.conversation import IMAGE_MARKER
from vqa_ray.errors import ErrorCode, RowError

Pair: TypeAlias = tuple[str, str]

_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
# `Question:`, `**Q2:**`, `3. User:`, at the beginning of a line.
_LABEL = re.compile(
    r"^[ \t]*+(?:[-*#]++[ \t]*+)?+(?:\d++[.)][ \t]*+)?+\**+(question|q|user|human|customer|answer|a|assistant|gpt)"
    r"[ \t]*+\d*+\**+[ \t]*+:\**+[ \t]*+",
    re.IGNORECASE | re.MULTILINE,
)
_ASKS = frozenset({"question", "q", "user", "human", "customer"})


def parse_pairs(reply: str, *, is_cut: bool = False) -> tuple[list[Pair], str | None]:
    """Read questions with their answers: labelled lines, or a JSON list of objects with `question` and `answer`.

    Args:
        reply: of the teacher.
        is_cut: whether it ended at the limit of new tokens: its last pair is then left out where there are others.

    Returns:
        The pairs, and a warning.

    Raises:
        RowError: `reply_malformed` where the reply holds something else, `filtered_length` where nothing whole is left.
    """
    fenced = _FENCE.match(reply.strip())
    text = fenced[1].strip() if fenced else reply.strip()
    pairs = _of_json(text) if text.startswith(("[", "{")) and not is_cut else _of_lines(text, is_cut=is_cut)
    if is_cut:
        pairs = pairs[:-1]
        if not pairs:
            raise RowError(ErrorCode.FILTERED_LENGTH, "the reply was cut before its first answer ended")
    for number, (question, answer) in enumerate(pairs, start=1):
        if not question or not answer:
            raise _malformed(f"pair {number} has no {'answer' if question else 'question'}", reply)
        if IMAGE_MARKER in question + answer:
            raise _malformed(f"pair {number} holds {IMAGE_MARKER}", reply)
    if not pairs:
        raise _malformed("no question with an answer", reply)
    return pairs, "the reply was cut: its last pair is left out" if is_cut else None


def _of_lines(text: str, *, is_cut: bool) -> list[Pair]:
    found = list(_LABEL.finditer(text))
    ends = [*(label.start() for label in found), len(text)][1:]
    spans = zip(found, ends, strict=True) if found else ()
    parts = [(label[1].lower() in _ASKS, text[label.end() : end].strip()) for label, end in spans]
    if is_cut and len(parts) % 2:
        parts.append((False, ""))
    for number, (asks, _) in enumerate(parts):
        if asks == bool(number % 2):
            raise _malformed(f"part {number + 1} is {'a question' if asks else 'an answer'} out of turn", text)
    if len(parts) % 2:
        raise _malformed("the last question has no answer", text)
    return [(parts[i][1], parts[i + 1][1]) for i in range(0, len(parts), 2)]


def _of_json(text: str) -> list[Pair]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed("not JSON", text) from None
    if isinstance(found, Mapping):
        found = next((value for value in found.values() if isinstance(value, list)), [found])
    pairs: list[Pair] = []
    for each in found:
        question, answer = (each.get("question"), each.get("answer")) if isinstance(each, Mapping) else (None, None)
        if not isinstance(question, str) or not isinstance(answer, str):
            raise _malformed("a list of something else than objects with a question and an answer", text)
        if any("\ud800" <= letter <= "\udfff" for letter in question + answer):
            raise _malformed("text that is not Unicode", text)
        pairs.append((question.strip(), answer.strip()))
    return pairs


def _malformed(reason: str, reply: str) -> RowError:
    return RowError(ErrorCode.REPLY_MALFORMED, f"{reason}: {reply[:120]!r}")

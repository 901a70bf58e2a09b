"""A conversation about images: its turns, the marks of its images, and its Arrow form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import pyarrow as pa

Role: TypeAlias = Literal["user", "assistant"]

IMAGE_MARKER = "<image>"
"""Stands in a text where an image is shown."""

_LEADING = re.compile(rf"(?:\s*+{IMAGE_MARKER})*+")

CONVERSATION = pa.field("read:conversation", pa.list_(pa.struct([("role", pa.string()), ("text", pa.string())])))
"""The texts of a conversation in order; a system prompt is the first of them, with the role `system`.

A column of READ and DECODED tables, under a name that no column of an input has.
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """One text of a conversation.

    Attributes:
        role: who says it.
        text: stripped; of the user, with an `IMAGE_MARKER` for each image that is shown in it.
    """

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns of a user and an assistant, alternating, from a user's to an assistant's.

    Attributes:
        system: instructions before the first turn, or None.
        turns: an even number of them, at least two.
        images: how many are shown; as many markers stand in the texts of the user.
    """

    system: str | None
    turns: tuple[Turn, ...]
    images: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The system prompt, where there is one, and the texts of the turns."""
        return (*(() if self.system is None else (self.system,)), *(turn.text for turn in self.turns))


def cells_of(conversation: Conversation) -> list[dict[str, str]]:
    """Return the value of a `CONVERSATION` cell."""
    system = [] if conversation.system is None else [{"role": "system", "text": conversation.system}]
    return [*system, *({"role": turn.role, "text": turn.text} for turn in conversation.turns)]


def conversation_of(cells: Sequence[Mapping[str, str]]) -> Conversation:
    """Return the conversation in a `CONVERSATION` cell, the inverse of `cells_of`."""
    system = cells[0]["text"] if cells[0]["role"] == "system" else None
    said = cells if system is None else cells[1:]
    turns = tuple(Turn(cast("Role", cell["role"]), cell["text"]) for cell in said)
    return Conversation(system, turns, markers(turn.text for turn in turns))


def markers(texts: Iterable[str]) -> int:
    """Count the images that texts show."""
    return sum(text.count(IMAGE_MARKER) for text in texts)


def with_markers(text: str, count: int) -> str:
    """Return a text that shows this many images before it begins."""
    return f"{IMAGE_MARKER * count}\n{text}".strip() if count else text


def tidy(text: str) -> str:
    """Strip a text; markers that it begins with stand together on the first line, as LLaVA writes them."""
    leading = _LEADING.match(text)
    assert leading is not None
    return with_markers(text[leading.end() :].strip(), markers([leading[0]]))


def shows_nothing(table: pa.Table) -> pa.BooleanArray:
    """Tell which rows of a table are conversations without an image; none of a table without `CONVERSATION`."""
    if CONVERSATION.name not in table.column_names:
        return pa.nulls(table.num_rows, pa.bool_()).fill_null(False)
    cells = table[CONVERSATION.name].to_pylist()
    return pa.array([cell is not None and not markers(each["text"] for each in cell) for cell in cells], pa.bool_())

"""Questions that name columns of the input: "does the photo show {title}?"."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from vqa_ray.errors import RequestError, one_line

_NAME = r"[^\W\d](?:[\w .-]*\w)?"
# Not the classes of a regular expression, \p{Lu}, of which the prompt of a schema may speak.
_PLACE = re.compile(rf"\{{\{{({_NAME})\}}\}}|(?<!\\[pP])\{{({_NAME})\}}")
# A name behind a brace that the next brace does not close.
_UNCLOSED = re.compile(rf"(?<!\{{)(?<!\\[pP])\{{{_NAME}(?=[^{{}}]*(?:\{{|$))", re.DOTALL)
# The place of a choice in a question of a taxonomy.
_NO_COLUMN = frozenset({"choice"})


def columns_of(templates: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that texts name, each once, in the order they come.

    Raises:
        RequestError: a brace before a name is not closed.
    """
    templates = tuple(templates)
    for template in templates:
        if (found := _UNCLOSED.search(template)) is not None:
            raise RequestError(
                f"{one_line(template, 80)!r}: the brace of {one_line(found[0], 40)!r} is not closed; a column is named "
                "as {title}, and a brace that names none has a space behind it"
            )
    return tuple(dict.fromkeys(name for template in templates for _, name in _parts(template) if name))


def is_column_name(text: str) -> bool:
    """Check whether a text can name a column in a template."""
    return re.fullmatch(_NAME, text) is not None and text not in _NO_COLUMN


def word(template: str, texts: Mapping[str, str | None]) -> str:
    """Put texts in their places; `{{title}}` becomes `{title}`, and a place without a text stays.

    Args:
        template: the question.
        texts: column → text.
    """
    return "".join(literal + _text(name, texts) for literal, name in _parts(template))


def _text(name: str, texts: Mapping[str, str | None]) -> str:
    text = texts.get(name) if name else ""
    return f"{{{name}}}" if text is None else text


@functools.lru_cache(maxsize=65_536)
def _parts(template: str) -> tuple[tuple[str, str], ...]:
    """(literal, column behind it) of a template; no column at its end."""
    parts, literal, start = [], "", 0
    for found in _PLACE.finditer(template):
        literal += template[start : found.start()]
        start = found.end()
        if found[2] is None or found[2] in _NO_COLUMN:
            literal += found[0] if found[1] is None else found[0][1:-1]
        else:
            parts.append((literal, found[2]))
            literal = ""
    return (*parts, (literal + template[start:], ""))

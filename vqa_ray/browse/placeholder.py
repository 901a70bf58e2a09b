"""A drawing in place of a picture that is not available, with the reason."""

from __future__ import annotations

import textwrap
from xml.sax.saxutils import escape

_CHARACTERS, _LINES, _LINE_HEIGHT = 30, 5, 22
_NOT_IN_XML = dict.fromkeys([*range(32), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)], " ")


def placeholder(reason: str) -> bytes:
    """Make an SVG of 320 × 180 units with the reason in it; the text is escaped."""
    lines = ["no picture:", *textwrap.wrap(reason.translate(_NOT_IN_XML), _CHARACTERS, max_lines=_LINES)]
    top = 90 - _LINE_HEIGHT * (len(lines) - 1) / 2
    spans = "".join(
        f'<text x="160" y="{top + _LINE_HEIGHT * number:g}" text-anchor="middle">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="180" viewBox="0 0 320 180">'
        f'<g font-family="sans-serif" font-size="16" fill="#7b8088" dominant-baseline="middle">{spans}</g></svg>'
    ).encode()

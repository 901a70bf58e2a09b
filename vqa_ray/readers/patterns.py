"""Patterns of file names: `*`, `**`, `?`, `[…]`, `{a,b}`, `{000..127}`. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from vqa_ray.errors import RequestError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_WILD = re.compile(r"[*?\[]")
# In a set these mean something to Python's expressions, or will one day.
_OF_SETS = re.compile(r"[\\\[&|~^]")
_PIECES = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])")


def is_pattern(text: str) -> bool:
    """Check whether `text` holds a character of patterns."""
    return bool(re.search(r"[*?\[{]", text))


def is_wild(text: str) -> bool:
    """Check whether `text`, its braces expanded, still stands for several names."""
    return bool(_WILD.search(text))


def expand_braces(pattern: str) -> Iterator[str]:
    """`a{x,y}` → `ax`, `ay`; `{008..010}` → 008, 009, 010 with the width of the first number."""
    match = _BRACES.search(pattern)
    if not match:
        yield pattern
        return
    limits = _RANGE.fullmatch(match[1])
    if limits:
        width = len(limits[1])
        choices = [f"{number:0{width}d}" for number in range(int(limits[1]), int(limits[2]) + 1)]
    else:
        choices = match[1].split(",")
    for choice in choices:
        yield from expand_braces(pattern[: match.start()] + choice + pattern[match.end() :])


class Glob:
    """One pattern for paths; `*` stays within one directory, and a matching directory brings all its files.

    Args:
        pattern: relative, its braces expanded.

    Raises:
        RequestError: a set in brackets holds a range that runs backwards.
    """

    def __init__(self, pattern: str) -> None:
        pattern = unicodedata.normalize("NFC", pattern).rstrip("/")
        try:
            self._file = re.compile(_expression(pattern), re.DOTALL)
        except re.error as error:
            raise RequestError(f"the pattern {pattern!r} cannot be read: {error.msg}") from error
        self._below = re.compile(f"{self._file.pattern}/.*", re.DOTALL)
        parts = pattern.split("/")
        self._chooses = bool(parts[-1].replace("*", ""))
        # As in a shell: `*` does not stand for names that tools hide, `_*` and `.cache` do.
        named = [_expression(part) for part in parts if part and not is_wild(part[0])]
        self.spared = re.compile("|".join(named), re.DOTALL) if named else None
        """The parts of paths that the pattern names although they may be bookkeeping."""

    def matches(self, path: str) -> bool:
        """Check whether a relative path, or a directory above it, matches, its letters composed or decomposed."""
        path = path if path.isascii() else unicodedata.normalize("NFC", path)
        return bool(self._file.fullmatch(path) or self._below.fullmatch(path))

    def names(self, path: str) -> bool:
        """Check whether the pattern speaks of the file itself: it matches, and its last part is more than `*`."""
        path = path if path.isascii() else unicodedata.normalize("NFC", path)
        return self._chooses and bool(self._file.fullmatch(path))


def _expression(pattern: str) -> str:
    parts: list[str] = []
    for piece in _PIECES.split(pattern):
        if piece == "**/":
            parts.append("(?:.*/)?")
        elif piece == "**":
            parts.append(".*")
        elif piece == "*":
            parts.append("[^/]*")
        elif piece == "?":
            parts.append("[^/]")
        elif piece.startswith("[") and piece.endswith("]"):
            negation, listed = ("^", piece[2:-1]) if piece[1] in "!^" and len(piece) > 3 else ("", piece[1:-1])
            parts.append("[" + negation + _OF_SETS.sub(r"\\\g<0>", listed) + "]")
        else:
            parts.append(re.escape(piece))
    return "".join(parts)

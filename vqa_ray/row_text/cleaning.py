"""Text of a row made harmless for a prompt: it stays readable, and no longer is a token, a turn or a place of its own.

A language model cannot tell the text of a row from the question around it, so the text must not hold what a tokenizer
reads as a command: `<|im_start|>` becomes `<| im_start |>`, `ASSISTANT:` becomes `ASSISTANT -`, a line break a space.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata

# Marks that no font shows, though Unicode files them under letters and symbols.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u2800\u3164\uffa0")
_SPACES = ("Cc", "Zl", "Zp", "Zs")
_NOTHING = ("Cf", "Co", "Cs")
# What chat templates write their tokens as, `<image>`, `</s>`, `<<SYS>>`, `[INST]`, in brackets of the text's own.
_SHAPE = r"<++[^\s<>]{1,64}>+|\[++[^\s\[\]]{1,64}\]+"
_TURN = re.compile(r"\b(user|assistant|system|human|short answer|answer|question|instruction|response)\s*:", re.I)
_HEADING = re.compile(r"#{2,}")
# Braces are the places of a template.
_BRACES = str.maketrans("{}", "()")
_MARKS = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
# Scripts that are written without spaces: a character is about a token.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_LETTERS_PER_TOKEN = 6
# Tokens within tokens, `<a<b>c>`, are parted one after the other.
_PASSES = 4


def clean(text: str, reserved: tuple[str, ...] = ()) -> str:
    """Make a text harmless: one line in Unicode's form NFKC, without invisible characters.

    Args:
        text: of a row.
        reserved: further texts that the model's tokenizer reads as tokens of its own, in any case.
    """
    text = unicodedata.normalize("NFKC", text)
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_seen, text))
    text = " ".join(text.split()).translate(_BRACES)
    text = _HEADING.sub("#", _TURN.sub(r"\1 -", text))
    pattern = _pattern(reserved)
    for _ in range(_PASSES):
        text = pattern.sub(_apart, text)
    return text


def cut(text: str, budget: int) -> str:
    """Cut a text to about `budget` tokens, at the border of a word where the first word fits.

    A word is a token per six characters that it begins; a character of a script without spaces is one.
    """
    left, end = budget, 0
    for found in re.finditer(r"\S+", text):
        left -= _tokens(found[0])
        if left < 0:
            break
        end = found.end()
    return text[:end] if end else text[: _fitting(text, budget)]


def is_of_common_shape(token: str) -> bool:
    """Whether `clean` knows a token by its shape."""
    return re.fullmatch(_SHAPE, token) is not None


def _tokens(word: str) -> int:
    characters = len(_UNSPACED.findall(word))
    return characters + math.ceil((len(word) - characters) / _LETTERS_PER_TOKEN)


def _fitting(text: str, budget: int) -> int:
    """Return the length of the longest beginning of at most `budget` tokens."""
    low, high = 0, min(len(text), budget * _LETTERS_PER_TOKEN)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _tokens(text[:middle]) <= budget else (low, middle - 1)
    return low


def _seen(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in _SPACES:
        return " "
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return "" if kind in _NOTHING or character in _UNSEEN or is_selector else character


@functools.lru_cache(maxsize=8)
def _pattern(reserved: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(reserved, key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, longest_first), _SHAPE]), re.IGNORECASE)


def _apart(found: re.Match[str]) -> str:
    """Part the marks of a token from its word, or the token's first letter from the others."""
    parts = _MARKS.fullmatch(found[0])
    assert parts is not None
    before, core, behind = parts.groups()
    if not core:
        return " ".join(found[0])
    return " ".join(filter(None, (before, core, behind))) if before or behind else f"{core[0]} {core[1:]}"

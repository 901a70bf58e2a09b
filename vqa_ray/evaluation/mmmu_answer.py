"""What MMMU's official parser reads in an answer: a letter, or the texts and numbers of an open question.

Source: MMMU-Benchmark/MMMU eval/eval_utils.py @44b45b50. Its oddities stay, so that scores are equal; where it reads no
letter it draws one, which is left to the caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_MARKS = ",.!?;:'"
# With so many words or fewer, the wording of an option is not looked for.
_FEW_WORDS = 5
# What stands before an answer, the sign only in the last line.
_SIGNALS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_LAST_SIGNAL = "="
_TRIVIAL = frozenset(":,.!?;'")
# Numbers: 1,000; 1e3; and any other. The look-behinds change no match; without them a million digits take hours.
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"(?:(?<!\d)|(?=-))-?\d++(?:\.\d++)?[eE][+-]?\d+"),
    re.compile(r"-?(?:(?<!\d)\d++\.\d+|\.\d+|(?<!\d)\d++\b)(?![eE][+-]?\d+)(?![,\d])"),
)
Reading = frozenset[str | float]


def choice(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that a text chooses, the last of several; None where the official parser draws one.

    A letter in brackets goes before a letter between spaces, and a letter before the wording of an option.
    """
    for mark in _MARKS:
        text = text.strip(mark)
    padded = f" {text} "
    for form in ("({})", " {} "):
        if places := {letter: padded.rfind(form.format(letter)) for letter in options if form.format(letter) in padded}:
            return _last(places)
    if len(padded.split()) <= _FEW_WORDS:
        return None
    lower = padded.lower()
    places = {letter: lower.rfind(words.lower()) for letter, words in options.items() if words.lower() in lower}
    return _last(places) if places else None


def _last(places: Mapping[str, int]) -> str:
    """Return the letter at the greatest place, the first of equals."""
    return max(places, key=places.__getitem__)


def open_reading(text: str) -> Reading:
    """Return the texts and numbers that an answer to an open question may mean.

    They are what follows the signals of each line, or all of the text, and the numbers therein.
    """
    keys = _key_texts(text)
    numbers = [number for key in keys for pattern in _NUMBERS for number in pattern.findall(key)]
    return frozenset(form for each in (*keys, *numbers) for form in normal_forms(each))


def _key_texts(text: str) -> list[str]:
    text = text.strip().strip(".").lower()
    # The official split at the end of a sentence looks for a capital letter, of which none is left.
    lines = text.split("\n")
    keys = [_shortest_tail(line, _SIGNALS) for line in lines[:-1]]
    keys.append(_shortest_tail(lines[-1], (*_SIGNALS, _LAST_SIGNAL)))
    return [key for key in keys if key and key not in _TRIVIAL] or [text]


def _shortest_tail(line: str, signals: Sequence[str]) -> str:
    """Return the shortest of what follows the last of each signal; an empty tail gives way to the next."""
    shortest = ""
    for signal in signals:
        if signal in line:
            tail = line.rpartition(signal)[2].strip()
            if not shortest or len(tail) < len(shortest):
                shortest = tail
    return shortest


def normal_forms(text: str) -> list[str | float]:
    """Return a number rounded to two decimals, or the text in lower case; a single character with a space beside it."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lower = text.lower()
        return [f" {lower}", f"{lower} "] if len(lower) == 1 else [lower]


def is_open_answer_right(reading: Reading, answers: Sequence[str]) -> bool:
    """Check whether a number of the reading equals a right answer, or a text of it contains one."""
    right = [form for answer in answers for form in normal_forms(answer)]
    texts = [form for form in right if isinstance(form, str)]
    return any(any(form in each for form in texts) if isinstance(each, str) else each in right for each in reading)

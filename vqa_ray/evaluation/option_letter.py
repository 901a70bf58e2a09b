"""The letter of the option that free text chooses.

Source: `can_infer` of VLMEvalKit (open-compass/VLMEvalKit, vlmeval/utils/matching_util.py @d21c5e96), by which MMBench
and AI2D are scored under its policy `exact_matching`. What its rules cannot read it gives to a language model or to
chance; here it stays unread, and so does "the answer is a dog", which it reads as A.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_BLANKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
# How many words may follow the letter.
_WORDS_AFTER = 3
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_STATED = re.compile(r"(?i:answer\s+is)\s+\**\(?([A-Z])\b(?!['’])")
_API_FAILURE = "Failed to obtain answer via API"
# Scripts that write no spaces between words, so that a letter stands beside others: Chinese, Japanese, Korean, Thai.
_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_ANSWER_IS = "答案|回答|正解|正确选项|正確選項|应选|應選|选择|選擇|选|選|정답|답|คำตอบ"
_LONGEST_UNSPACED = 1_000


def option_letter(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that a text chooses, or None where the text leaves it open.

    The text chooses the only letter of an option that is a word of its own, with at most three words after it; else
    the first letter after "answer is"; else the only option whose wording it contains, if the text is no longer than
    twice all wordings.

    Args:
        text: the answer.
        options: letter → wording.
    """
    if not text or any(refusal in text for refusal in _REFUSALS):
        return None
    words = text.translate(_BLANKS).split()
    if _API_FAILURE not in text:
        known = set(words)
        chosen = [letter for letter in options if letter in known]
        if len(chosen) == 1 and words.index(chosen[0]) >= len(words) - 1 - _WORDS_AFTER:
            return chosen[0]
        if not chosen and "Z" in known:
            return None
        if (stated := _STATED.search(text)) and stated[1] in options:
            return stated[1]
    return _by_wording(text, options) or _of_unspaced(text, options)


def _by_wording(text: str, options: Mapping[str, str]) -> str | None:
    lower = text.lower()
    if len(lower) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, wording in options.items() if wording.lower() in lower]
    return found[0] if len(found) == 1 else None


def _of_unspaced(text: str, options: Mapping[str, str]) -> str | None:
    """Read "答案是B。", "选Ｂ" and "정답은 B입니다", which VLMEvalKit leaves to its language model.

    The letter stands first, last or a few characters after a word for "answer", and no other letter does.
    """
    if text.isascii() or len(text) > _LONGEST_UNSPACED:
        return None
    if not re.search(f"[{_UNSPACED}Ａ-Ｚ]", text):
        return None
    wide = unicodedata.normalize("NFKC", text)
    edge = rf"[\s\W_{_UNSPACED}]"
    letter = f"(?:^|(?<={edge}))([{''.join(options)}])(?=$|{edge})"
    if len(set(re.findall(letter, wide))) != 1:
        return None
    blank = r"[\s\W_]*"
    placed = rf"^{blank}{letter}|{letter}{blank}$|(?:{_ANSWER_IS})[^A-Za-z]{{0,8}}{letter}"
    found = re.search(placed, wide)
    return next(filter(None, found.groups())) if found else None

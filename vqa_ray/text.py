"""Answers as strings: the normalisation under which two of them are equal.

This is the normalisation of the official VQA evaluation (GT-Vision-Lab/VQA, `vqaEval.py`), oddities included, so that
accuracies compare with published ones and answer vocabularies with the checkpoints trained on them.
"""

from __future__ import annotations

import functools
import re

ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = "zero one two three four five six seven eight nine ten"
NUMBER_WORDS = {word: str(number) for number, word in enumerate(_NUMBERS.split())} | {"none": "0"}

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_MARKS = frozenset(PUNCTUATION)

# The official expression reads as if it kept the period after a digit, but its look-behind is misspelt and always
# true; and the flag it passes stands where `re.sub` takes the largest number of replacements.
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")

_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at, character in enumerate(word) if character == "'"]


# A contraction that lost one apostrophe gets it back; the official table has a single entry that takes one away.
# Its entries with a capital I are never met, because words are lowercased first.
CONTRACTIONS = {lost: word for word in _CONTRACTIONS.split() for lost in _without_one_apostrophe(word)} | {
    "somebody'd": "somebodyd"
}


def strip_answer(answer: str) -> str:
    """Replace line breaks and tabs by spaces and strip outer white space, which is all that equal answers get."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@functools.lru_cache(maxsize=100_000)
def normalise(answer: str) -> str:
    """Normalise an answer as the official evaluation does: "The U.S." → "us", "two t-shirts" → "2 t shirts"."""
    return _words(_punctuation(strip_answer(answer)))


def canonical(answer: str) -> str:
    """Return the form in which answers match: the official normalisation, or lower case where that leaves nothing.

    The article "A" is also the first of four choices.
    """
    return normalise(answer) or strip_answer(answer).lower()


def _punctuation(answer: str) -> str:
    """Delete marks that touch a space anywhere, and any mark beside a 1,000; other marks part words."""
    has_grouped_digits = _DIGIT_COMMA_DIGIT.search(answer) is not None
    result = answer
    for mark in _MARKS.intersection(answer):
        deleted = has_grouped_digits or f"{mark} " in answer or f" {mark}" in answer
        result = result.replace(mark, "" if deleted else " ")
    return _PERIOD.sub("", result, count=_MOST_PERIODS)


def _words(answer: str) -> str:
    numbered = (NUMBER_WORDS.get(word, word) for word in answer.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in numbered if word not in ARTICLES)

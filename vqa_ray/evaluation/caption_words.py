"""The words of a caption, as the caption metrics count them.

coco-caption runs Stanford's PTBTokenizer, a Java program, in lower case and without punctuation marks. These rules give
its words for plain captions, contractions, brackets and common abbreviations; they differ from it in rarer ones ("Main
Blvd." loses its full stop, "y'all" stays one word), in emoticons and in currency signs other than $.
"""

from __future__ import annotations

import re

# The parts of a text, in the order in which they are tried.
_PART = re.compile(
    r"(?:[^\W\d_]\.){2,}|(?<!\w)[^\W\d_]\.(?!\w)|ph\.d\."  # initials
    r"|(?:mr|mrs|ms|dr|st|ave|prof|rev|gen|sgt|jr|sr|vs|etc|inc|co|ltd|corp)\.(?!\w)"
    r"|n't(?!\w)"
    r"|\d+(?:[.,:/]\d+)+|(?<!\w)-\d+(?:\.\d+)?(?!\w)"
    r"|'(?:s|m|d|re|ve|ll)(?!\w)|'\d0s"
    r"|[\w&]+(?:[-&.@/][\w&]+|'(?!(?:s|m|d|re|ve|ll|t)(?!\w))[^\W\d]+)*"
    r"|[!?]{2,}|\*\*|[^\w\s]"
)
_DROPPED = frozenset("'`.?!,:-;\"“”‘’…–—")
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_PARTED = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "wanna": ("wan", "na"), "gotta": ("got", "ta")}
_NEGATION = re.compile(r"(?<=\w)n't\b")


def caption_words(caption: str) -> list[str]:
    """Return the words in lower case: "A dog's bed, isn't it?" → a dog 's bed is n't it."""
    words: list[str] = []
    for part in _PART.findall(_NEGATION.sub(" n't", caption.lower().replace("’", "'"))):
        if part not in _DROPPED:
            words += _PARTED.get(part, (_BRACKETS.get(part, part),))
    return words

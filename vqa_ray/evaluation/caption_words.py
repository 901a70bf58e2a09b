"""The words of a caption, as the caption metrics count them.

coco-caption runs Stanford's PTBTokenizer, a Java program, in lower case and without punctuation marks. This is its
behaviour on plain captions in Python. It differs in rare forms: abbreviations other than single letters lose their full
stop ("u.s." is kept, "mr." is not), and emoticons, URLs, fractions and foreign scripts are split at their marks.
"""

from __future__ import annotations

import re

# In this order: initials with their full stops, numbers, words with inner hyphens, apostrophes or marks, single marks.
_WORD = re.compile(
    r"(?:[^\W\d_]\.){2,}"
    r"|\d+(?:[.,:/]\d+)+"
    r"|'(?:s|m|d|re|ve|ll)(?!\w)"
    r"|[\w&]+(?:[-&.@][\w&]+|'(?!(?:s|m|d|re|ve|ll|t)(?!\w))\w+)*"
    r"|[^\w\s]"
)
_DROPPED = frozenset("'`.?!,:-;\"“”‘’…–—()[]{}")
_NEGATION = re.compile(r"(\w)n['’]t\b")
_PARTED = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "wanna": ("wan", "na"), "gotta": ("got", "ta")}


def caption_words(caption: str) -> list[str]:
    """Return the words in lower case: "A dog's bed, isn't it?" → a dog 's bed is n't it."""
    text = _NEGATION.sub(r"\1 n't", caption.lower()).replace("’", "'")
    words: list[str] = []
    for word in _split_negation(text):
        words += _PARTED.get(word, (word,))
    return words


def _split_negation(text: str) -> list[str]:
    found: list[str] = []
    for piece in text.split():
        found += [piece] if piece == "n't" else (word for word in _WORD.findall(piece) if word not in _DROPPED)
    return found

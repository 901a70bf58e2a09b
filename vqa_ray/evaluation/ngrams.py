"""The n-grams of a text, which the caption metrics count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

Ngram: TypeAlias = tuple[str, ...]

MAX_N = 4


def ngrams(words: Sequence[str]) -> Counter[Ngram]:
    """Count the n-grams of 1 to 4 words."""
    return Counter(tuple(words[start : start + n]) for n in range(1, MAX_N + 1) for start in range(len(words) - n + 1))

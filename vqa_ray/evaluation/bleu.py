"""BLEU of captions, over a whole corpus.

Source: Papineni et al., "BLEU" (2002), in the form of coco-caption's `bleu_scorer.py`: the reference nearest in length
counts, and two tiny numbers keep its fractions defined.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vqa_ray.evaluation.ngrams import MAX_N, Ngram, ngrams

_SMALL, _TINY = 1e-9, 1e-15


@dataclass(frozen=True, slots=True)
class BleuCounts:
    """What BLEU adds up over captions.

    Attributes:
        matched: per n from 1 to 4, the n-grams of the caption that a reference holds as often.
        given: per n, the n-grams of the caption.
        length: words of the caption.
        reference_length: words of the reference nearest in length, the shorter of two as near.
    """

    matched: tuple[float, ...]
    given: tuple[float, ...]
    length: float
    reference_length: float


def bleu_counts(caption: Sequence[str], references: Sequence[Sequence[str]]) -> BleuCounts:
    """Count the words and n-grams of a caption, and those that its references, at least one, hold too."""
    most: Counter[Ngram] = Counter()
    for reference in references:
        most |= ngrams(reference)
    matched = [0] * MAX_N
    for ngram, count in (ngrams(caption) & most).items():
        matched[len(ngram) - 1] += count
    length = len(caption)
    _, nearest = min((abs(len(reference) - length), len(reference)) for reference in references)
    return BleuCounts(tuple(matched), tuple(max(0, length - n) for n in range(MAX_N)), length, nearest)


def bleu(total: BleuCounts) -> list[float]:
    """Return BLEU-1 to BLEU-4, 0..1, of counts that were added up over captions."""
    ratio = (total.length + _TINY) / (total.reference_length + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for n, (matched, given) in enumerate(zip(total.matched, total.given, strict=True), 1):
        product *= (matched + _TINY) / (given + _SMALL)
        scores.append(product ** (1 / n) * brevity)
    return scores

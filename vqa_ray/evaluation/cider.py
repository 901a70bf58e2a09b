"""CIDEr-D: how alike the n-grams of a caption and its references are, weighted by how rare they are among all images.

Source: Vedantam et al., "CIDEr: Consensus-based Image Description Evaluation" (2015), in the form of coco-caption's
`cider_scorer.py`: unstemmed words, clipped counts, a Gaussian penalty on length.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vqa_ray.evaluation.ngrams import MAX_N, Ngram, ngrams

_SIGMA = 6.0
BEST = 10.0


@dataclass
class DocumentFrequencies:
    """In how many images each n-gram of the references occurs.

    Attributes:
        images: how many there are.
        counts: n-gram → images with a reference that holds it.
    """

    images: int = 0
    counts: Counter[Ngram] = field(default_factory=Counter)

    def add(self, references: Iterable[Sequence[str]]) -> None:
        """Count the references of one image, each a list of words."""
        self.images += 1
        self.counts.update({ngram for reference in references for ngram in ngrams(reference)})


def cider(caption: Sequence[str], references: Iterable[Sequence[str]], frequencies: DocumentFrequencies) -> float:
    """Return the CIDEr-D of one caption, 0..10; the official figure is the mean over images.

    Args:
        caption: its words.
        references: the words of each reference of the image, at least one.
        frequencies: of the references of all images.
    """
    given = _Weighted(caption, frequencies)
    scores = [_similarity(given, _Weighted(reference, frequencies)) for reference in references]
    return BEST * sum(scores) / len(scores)


class _Weighted:
    """The n-grams of a text with their tf-idf weights: by length, and their norm."""

    def __init__(self, words: Sequence[str], frequencies: DocumentFrequencies) -> None:
        self.weights: list[dict[Ngram, float]] = [{} for _ in range(MAX_N)]
        log_images = math.log(frequencies.images) if frequencies.images else 0.0
        for ngram, count in ngrams(words).items():
            rarity = log_images - math.log(max(1, frequencies.counts[ngram]))
            self.weights[len(ngram) - 1][ngram] = count * rarity
        self.norms = [math.sqrt(sum(weight * weight for weight in each.values())) for each in self.weights]
        # The official code counts bigrams.
        self.length = max(0, len(words) - 1)


def _similarity(given: _Weighted, reference: _Weighted) -> float:
    total = 0.0
    for n in range(MAX_N):
        norm = given.norms[n] * reference.norms[n]
        if norm:
            wanted = reference.weights[n]
            common = given.weights[n].keys() & wanted.keys()
            total += sum(min(given.weights[n][ngram], wanted[ngram]) * wanted[ngram] for ngram in common) / norm
    apart = given.length - reference.length
    return total / MAX_N * math.exp(-(apart * apart) / (2 * _SIGMA**2))

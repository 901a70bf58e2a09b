"""How many annotators of each row gave each answer, for all rows at once. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.text import canonical, strip_answer

# By how much an answer is right when 1, 2, 3 or more of ten annotators gave it: 0.3, 0.6, 0.9, 1 (dandelin/ViLT).
# Of another number k of annotators, 10 / k counts as one: a single answer, and two that agree, are right by 1.
_WEIGHT_OF_A_TENTH = 3


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """The distinct answers of each row: P pairs of a row and an answer, sorted by row, then by answer.

    Attributes:
        names: the answers of all rows, normalised, in alphabetical order.
        spellings: how each of `names` is written most often, of equally frequent spellings the first in the alphabet,
            small letters first.
        rows: int64 (P,), row numbers.
        answers: int64 (P,), places in `names`.
        votes: float64 (P,), how many annotators of the row gave the answer, or the weight that was given.
        weights: float32 (P,) in 0-1, by how much the answer is right.
        num_rows: how many rows there are, those without answers included.
    """

    names: tuple[str, ...]
    spellings: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float32]
    num_rows: int

    def majority(self) -> npt.NDArray[np.int64]:
        """Return the number of each row's most frequent answer among `names`, int64 (N,).

        Of equally frequent ones it is the first in the alphabet; -1 where a row has none.
        """
        found = np.full(self.num_rows, -1, np.int64)
        order = np.lexsort((self.answers, -self.votes, self.rows))
        rows, first = np.unique(self.rows[order], return_index=True)
        found[rows] = self.answers[order[first]]
        return found


def count_answers(answers: pa.ListArray, weights: pa.ListArray | None = None) -> AnswerCounts:
    """Count the answers of each row.

    Args:
        answers: list<string> (N,), no nulls.
        weights: list<double> (N,) of the same lengths, by how much each answer is right; None when each answer is an
            annotator's. Of two answers that are the same when normalised, the larger weight counts;
            one of weight 0 is no answer.
    """
    encoded = answers.flatten().dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    forms = [canonical(text) for text in texts]
    names = sorted(set(forms))
    index_of = {name: at for at, name in enumerate(names)}
    lookup = np.array([index_of[form] for form in forms], np.int64)
    lengths = answers.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    width = max(1, len(names))
    pairs = np.repeat(np.arange(len(answers)) * width, lengths) + lookup[encoded.indices.to_numpy()]
    if weights is None:
        unique, counts = np.unique(pairs, return_counts=True)
        votes = counts.astype(np.float64)
        share = counts / lengths[unique // width]
        right = np.minimum(1, _WEIGHT_OF_A_TENTH * share)
    else:
        unique, inverse = np.unique(pairs, return_inverse=True)
        votes = np.zeros(len(unique))
        np.maximum.at(votes, inverse, weights.flatten().to_numpy(zero_copy_only=False))
        unique, votes = unique[votes > 0], votes[votes > 0]
        right = votes
    used = np.bincount(encoded.indices.to_numpy(), minlength=len(texts)).tolist()
    spellings = _spellings(zip(forms, map(strip_answer, texts), used, strict=True))
    spelled = tuple(spellings[name] for name in names)
    return AnswerCounts(
        tuple(names), spelled, unique // width, unique % width, votes, right.astype(np.float32), len(answers)
    )


def _spellings(written: Iterable[tuple[str, str, int]]) -> dict[str, str]:
    """Normalised form → its most frequent spelling, from (form, spelling, how often) of each text."""
    counts: dict[str, Counter[str]] = {}
    for form, spelling, times in written:
        counts.setdefault(form, Counter())[spelling] += times
    return {form: min(found, key=lambda text: (-found[text], text.swapcase())) for form, found in counts.items()}

"""Exact match and token F1 of open answers.

Source: Rajpurkar et al., "Know What You Don't Know: Unanswerable Questions for SQuAD" (2018), and `evaluate-v2.0.py`.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(a|an|the)\b")


def normalise_squad(answer: str) -> str:
    """Return the answer in lower case, without ASCII punctuation and English articles, words parted by one space."""
    return " ".join(_ARTICLE.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, true_answers: Sequence[str]) -> bool:
    """Check whether the normalised answer is one of the normalised true ones."""
    return normalise_squad(answer) in {normalise_squad(each) for each in true_answers}


def token_f1(answer: str, true_answers: Sequence[str]) -> float:
    """Return the F1, 0..1, of the words of the answer against those of the best true answer.

    Words count as often as they occur. An answer or truth without words has F1 1 where both have none, else 0.

    Args:
        answer: of the model.
        true_answers: at least one.
    """
    given = normalise_squad(answer).split()
    return max(_f1(given, normalise_squad(each).split()) for each in true_answers)


def _f1(given: list[str], true: list[str]) -> float:
    if not given or not true:
        return float(given == true)
    common = sum((Counter(given) & Counter(true)).values())
    if not common:
        return 0.0
    precision, recall = common / len(given), common / len(true)
    return 2 * precision * recall / (precision + recall)

"""Yes/no questions: accuracy, precision, recall, F1 and how often the answer was yes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vqa_ray.text import normalise

_POPE_NO_WORDS = frozenset({"No", "not", "no"})


@dataclass(frozen=True, slots=True)
class BinaryReport:
    """Measures of `n` answered yes/no questions, "yes" being the positive answer; all in 0..1.

    A ratio with nothing below its line (precision when nothing was answered yes, recall when nothing is true) is 0,
    and F1 with it.
    """

    n: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_ratio: float


def said_yes(answer: str | None) -> bool:
    """Check whether an answer is "yes" once normalised; anything else, and no answer at all, is not."""
    return answer is not None and normalise(answer) == "yes"


def pope_said_yes(text: str) -> bool:
    """Tell yes from no in free text as POPE's `evaluate.py` does (Li et al. 2023).

    Only the first sentence counts, without commas: "No", "no" or "not" as a word makes it a no, anything else a yes.
    """
    first_sentence = text.partition(".")[0].replace(",", "")
    return _POPE_NO_WORDS.isdisjoint(first_sentence.split(" "))


def binary_report(pairs: Iterable[tuple[bool, bool]]) -> BinaryReport:
    """Return the measures of (answered yes, is truly yes) pairs. Reads `pairs` once and keeps four counts.

    Raises:
        ValueError: there is no pair.
    """
    counts = {(said, true): 0 for said in (False, True) for true in (False, True)}
    for said, true in pairs:
        counts[bool(said), bool(true)] += 1
    hits, false_alarms, misses = counts[True, True], counts[True, False], counts[False, True]
    n = sum(counts.values())
    if n == 0:
        raise ValueError("yes/no measures of no answers: 0 given, at least 1 needed")
    return BinaryReport(
        n=n,
        accuracy=(hits + counts[False, False]) / n,
        precision=_ratio(hits, hits + false_alarms),
        recall=_ratio(hits, hits + misses),
        f1=_ratio(2 * hits, 2 * hits + false_alarms + misses),
        yes_ratio=(hits + false_alarms) / n,
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

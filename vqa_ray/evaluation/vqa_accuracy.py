"""VQA accuracy: the agreement of an answer with those of people to the same question.

Source: Antol et al., "VQA: Visual Question Answering" (2015), and the official `vqaEval.py`, whose numbers these are:
each annotator is left out in turn, the answer scores min(1, agreeing others / 3), and the mean over annotators counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vqa_ray.text import normalise, strip_answer

AGREEING_FOR_FULL_SCORE = 3


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """One answer with its truth.

    Attributes:
        answer: the answer of the model; None counts as wrong.
        annotator_answers: the answers of people, at least one.
        answer_type: the group it is reported under ("yes/no", "number", "other", or any other grouping).
    """

    answer: str | None
    annotator_answers: Sequence[str]
    answer_type: str = "all"


@dataclass(frozen=True, slots=True)
class VqaAccuracy:
    """Mean accuracy in 0..1, over all answers and by answer type, with how many answers each is a mean of."""

    overall: float
    n: int
    by_type: dict[str, float]
    n_by_type: dict[str, int]


def answer_accuracy(answer: str | None, annotator_answers: Sequence[str]) -> float:
    """Return the official accuracy of one answer, in 0..1; it does not depend on the order of the annotators.

    As in the official code, answers are normalised only where the annotators differ. With a single annotator, whom
    leaving out would leave nobody, the accuracy is 1 for the same normalised answer and 0 otherwise.

    Raises:
        ValueError: there is no annotator answer.
    """
    if not annotator_answers:
        raise ValueError("an answer without annotator answers cannot be judged: 0 given, at least 1 needed")
    if answer is None:
        return 0.0
    if len(annotator_answers) == 1:
        return float(normalise(answer) == normalise(annotator_answers[0]))
    given, truth = strip_answer(answer), [strip_answer(each) for each in annotator_answers]
    if len(set(truth)) > 1:
        given, truth = normalise(given), [normalise(each) for each in truth]
    agreeing = truth.count(given)
    # Leaving out one who agrees leaves one fewer.
    without_one_of_them = min(1.0, (agreeing - 1) / AGREEING_FOR_FULL_SCORE)
    without_another = min(1.0, agreeing / AGREEING_FOR_FULL_SCORE)
    return (agreeing * without_one_of_them + (len(truth) - agreeing) * without_another) / len(truth)


def vqa_accuracy(judged: Iterable[JudgedAnswer]) -> VqaAccuracy:
    """Return the official accuracy over many answers. Reads `judged` once and keeps sums only.

    Raises:
        ValueError: there is no answer to judge.
    """
    sums: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    for each in judged:
        sums[each.answer_type] += answer_accuracy(each.answer, each.annotator_answers)
        counts[each.answer_type] += 1
    n = sum(counts.values())
    if n == 0:
        raise ValueError("VQA accuracy of no answers: 0 given, at least 1 needed")
    return VqaAccuracy(
        overall=sum(sums.values()) / n,
        n=n,
        by_type={kind: sums[kind] / counts[kind] for kind in sorted(sums)},
        n_by_type={kind: counts[kind] for kind in sorted(counts)},
    )

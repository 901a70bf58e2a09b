"""VQA accuracy: the agreement of an answer with those of people to the same question.

Source: Antol et al., "VQA: Visual Question Answering" (2015), and the official `vqaEval.py`, whose numbers these are:
each annotator is left out in turn, the answer scores min(1, agreeing others / 3), and the mean over annotators counts.
Benchmarks differ in the form in which answers are compared: `vqa_forms`, `textvqa_forms`, `vizwiz_forms`.
"""

from __future__ import annotations

import functools
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


def agreement(agreeing: int, annotators: int) -> float:
    """Return the accuracy, 0..1, of an answer that `agreeing` of the annotators gave.

    With a single annotator, whom leaving out would leave nobody, it is 1 where they agree.
    """
    if annotators == 1:
        return float(agreeing)
    # Leaving out one who agrees leaves one fewer. Counted in thirds, for the double nearest to the quotient.
    thirds = agreeing * min(3, agreeing - 1) + (annotators - agreeing) * min(3, agreeing)
    return thirds / (AGREEING_FOR_FULL_SCORE * annotators)


def vqa_forms(answer: str, annotator_answers: Sequence[str]) -> tuple[str, list[str]]:
    """Return the answer and those of people in the form in which VQAv2 compares them.

    As in the official code, answers are normalised only where the annotators differ; and where there is only one.
    """
    forms = {each: strip_answer(each) for each in set(annotator_answers)}
    given = strip_answer(answer)
    if len(annotator_answers) == 1 or len(set(forms.values())) > 1:
        forms = {each: normalise(each) for each in forms}
        given = normalise(given)
    return given, [forms[each] for each in annotator_answers]


def vizwiz_forms(answer: str, annotator_answers: Sequence[str]) -> tuple[str, list[str]]:
    """Return the answer and those of people in the form in which VizWiz compares them: only the answer is normalised.

    Source: Gurari et al., "VizWiz Grand Challenge" (2018), and the `vqaEval.py` of its API.
    """
    return normalise(answer), list(annotator_answers)


def textvqa_forms(answer: str, annotator_answers: Sequence[str]) -> tuple[str, list[str]]:
    """Return the answer and those of people in the form in which TextVQA compares them: all of them normalised.

    Source: Singh et al., "Towards VQA Models That Can Read" (2019), and `m4c_evaluators.py` of facebookresearch/mmf.
    """
    return _normalise_textvqa(answer), [_normalise_textvqa(each) for each in annotator_answers]


@functools.lru_cache(maxsize=100_000)
def _normalise_textvqa(answer: str) -> str:
    """Drop commas and question marks and part 's from its word, before the normalisation of VQAv2."""
    return normalise(answer.lower().replace(",", "").replace("?", "").replace("'s", " 's"))


def answer_accuracy(answer: str | None, annotator_answers: Sequence[str]) -> float:
    """Return the official accuracy of one answer, in 0..1; it does not depend on the order of the annotators.

    Raises:
        ValueError: there is no annotator answer.
    """
    if not annotator_answers:
        raise ValueError("an answer without annotator answers cannot be judged: 0 given, at least 1 needed")
    if answer is None:
        return 0.0
    given, truth = vqa_forms(answer, annotator_answers)
    return agreement(truth.count(given), len(truth))


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

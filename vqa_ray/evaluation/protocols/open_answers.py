"""One text against one or several true ones: ANLS, ChartQA, WUPS, exact match, token F1."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.anls import anls, anls_rrc
from vqa_ray.evaluation.foreign_text import foreign_notes, foreign_numbers
from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.relaxed_accuracy import relaxed_match
from vqa_ray.evaluation.squad import exact_match, normalise_squad, token_f1
from vqa_ray.evaluation.truth_values import texts
from vqa_ray.evaluation.wups import WordNet, wups


class _OpenAnswers(Protocol):
    """A protocol whose headline is the mean score.

    Attributes:
        also: the extra numbers whose means are measures too.
    """

    truth: ClassVar[Roles] = {"answers": ("annotator_answers", "answers", "truth", "answer", "label")}
    also: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def score(self, answer: str, true_answers: list[str]) -> tuple[float, Mapping[str, float]]:
        """Return the credit of an answer, 0..1, and the numbers of `also`."""

    def read(self, answer: str) -> str:
        """Return the form in which an answer is compared."""
        return answer

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        answers = texts(truth["answers"], "true answers")
        score, also = self.score(prediction, answers)
        return Judgement(score, self.read(prediction), answers[0], {**also, **foreign_numbers(prediction, answers)})

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        return Judgement(0.0, None, texts(truth["answers"], "true answers")[0])

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        columns = {self.headline: rows.score, **{name: rows.extra[name] for name in self.also}}
        total = float(weight.sum())
        return {
            name: self.scale * float(column @ weight) / total if total else float("nan")
            for name, column in columns.items()
        }

    def notes(self, rows: JudgedRows) -> list[str]:
        return foreign_notes(rows.extra)


class Anls(_OpenAnswers):
    """Average normalised Levenshtein similarity, 0..1, as published: distances of a half and more count 0."""

    name = "anls"
    title = "ANLS"
    source = "Biten et al. 2019; anls_score of shunk031/ANLS at 6472e1d"
    headline = "anls"
    means = frozenset({"anls"})

    def score(self, answer: str, true_answers: list[str]) -> tuple[float, Mapping[str, float]]:
        return anls(answer, true_answers), {}


class AnlsRrc(Anls):
    """ANLS of the Robust Reading Competition (DocVQA, InfographicVQA), of lmms-eval and VLMEvalKit: a half counts."""

    name = "anls-rrc"
    title = "ANLS (Robust Reading Competition)"
    source = "Mathew et al. 2021, 2022; infographicsVQA_eval.py of the Robust Reading Competition"

    def score(self, answer: str, true_answers: list[str]) -> tuple[float, Mapping[str, float]]:
        return anls_rrc(answer, true_answers), {}


class ChartQa(_OpenAnswers):
    """Relaxed accuracy in percent: numbers within 5 %, years too; other answers equal but for case."""

    name = "chartqa"
    title = "Relaxed accuracy (ChartQA)"
    source = "Masry et al. 2022; relaxed_correctness of google-research/pix2struct at 5b086ef"
    truth: ClassVar[Roles] = {"answers": ("annotator_answers", "truth", "label", "answer", "answers")}
    optional: ClassVar[Roles] = {"split": ("split", "type", "human_or_machine")}
    groups = ("split",)
    headline = "relaxed_accuracy"
    means = frozenset({"relaxed_accuracy"})
    scale = 100.0

    def score(self, answer: str, true_answers: list[str]) -> tuple[float, Mapping[str, float]]:
        return float(any(relaxed_match(answer, each) for each in true_answers)), {}


class Wups(_OpenAnswers):
    """WUPS at 0.9 and at 0.0, and the accuracy of equal lists of words, in percent; needs WordNet's dictionary.

    A list of several true answers is DAQUAR's consensus: the mean over them counts.
    """

    name = "wups"
    title = "WUPS (DAQUAR)"
    source = "Malinowski and Fritz 2014; calculate_wups.py of DAQUAR"
    truth: ClassVar[Roles] = {"answers": ("truth", "answer", "answers")}
    headline = "wups_0.9"
    means = frozenset({"wups_0.9"})
    scale = 100.0
    also = ("wups_0.0", "accuracy")

    def __init__(self) -> None:
        self._similarity = WordNet()

    def score(self, answer: str, true_answers: list[str]) -> tuple[float, Mapping[str, float]]:
        def mean(threshold: float) -> float:
            return sum(wups(answer, each, threshold, self._similarity) for each in true_answers) / len(true_answers)

        same = sum(wups(answer, each, 1.0, _no_similarity) for each in true_answers) / len(true_answers)
        return mean(0.9), {"wups_0.0": mean(0.0), "accuracy": same}


def _no_similarity(one: str, other: str) -> float:
    return 0.0


class ExactMatch(_OpenAnswers):
    """The share of answers, in percent, that equal a true one without case, punctuation and articles."""

    name = "exact-match"
    title = "Exact match (SQuAD)"
    source = "Rajpurkar et al. 2018; evaluate-v2.0.py of SQuAD"
    headline = "exact_match"
    means = frozenset({"exact_match"})
    scale = 100.0

    def read(self, answer: str) -> str:
        return normalise_squad(answer)

    def score(self, answer: str, true_answers: list[str]) -> tuple[float, Mapping[str, float]]:
        return float(exact_match(answer, true_answers)), {}


class TokenF1(ExactMatch):
    """The mean F1 of words, in percent, against the best true answer; and exact match."""

    name = "token-f1"
    title = "Token F1 (SQuAD)"
    headline = "f1"
    means = frozenset({"f1"})
    also = ("exact_match",)

    def score(self, answer: str, true_answers: list[str]) -> tuple[float, Mapping[str, float]]:
        return token_f1(answer, true_answers), {"exact_match": float(exact_match(answer, true_answers))}

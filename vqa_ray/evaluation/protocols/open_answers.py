"""One text against one or several true ones: ANLS, ChartQA, WUPS, exact match, token F1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.anls import anls, anls_rrc
from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.relaxed_accuracy import relaxed_match
from vqa_ray.evaluation.squad import exact_match, normalise_squad, token_f1
from vqa_ray.evaluation.truth_values import one_text, texts
from vqa_ray.evaluation.wups import WordNet, wups

_ANSWERS: Roles = {"answers": ("answers", "annotator_answers", "answer", "label")}


class _Mean(Protocol):
    """A protocol whose headline is the mean score, and whose other measures are means of extra numbers."""

    truth: ClassVar[Roles] = _ANSWERS

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        columns = {self.headline: rows.score, **rows.extra}
        total = float(weight.sum())
        return {
            name: self.scale * float(column @ weight / total) if total else float("nan")
            for name, column in columns.items()
        }


class Anls(_Mean):
    """Average normalised Levenshtein similarity, 0..1, as published: distances of a half and more count 0."""

    name = "anls"
    title = "ANLS"
    source = "Biten et al. 2019; anls_score of shunk031/ANLS at 6472e1d"
    headline = "anls"
    means = frozenset({"anls"})
    metric = staticmethod(anls)

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        answers = texts(truth["answers"], "true answers")
        return Judgement(self.metric(prediction, answers), prediction, answers[0])


class AnlsRrc(Anls):
    """ANLS of the Robust Reading Competition (DocVQA, InfographicVQA), of lmms-eval and VLMEvalKit: a half counts."""

    name = "anls-rrc"
    title = "ANLS (Robust Reading Competition)"
    source = "Mathew et al. 2021, 2022; infographicsVQA_eval.py of the Robust Reading Competition"
    metric = staticmethod(anls_rrc)


class ChartQa(_Mean):
    """Relaxed accuracy in percent: numbers within 5 %, years too; other answers equal but for case."""

    name = "chartqa"
    title = "Relaxed accuracy (ChartQA)"
    source = "Masry et al. 2022; relaxed_correctness of google-research/pix2struct at 5b086ef"
    truth: ClassVar[Roles] = {"answers": ("label", "answer", "answers")}
    optional: ClassVar[Roles] = {"split": ("type", "human_or_machine", "split")}
    groups = ("split",)
    headline = "relaxed_accuracy"
    means = frozenset({"relaxed_accuracy"})
    scale = 100.0

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        answers = texts(truth["answers"], "true answers")
        return Judgement(float(any(relaxed_match(prediction, each) for each in answers)), prediction, answers[0])


class Wups(_Mean):
    """WUPS at 0.9 and at 0.0, and the accuracy of equal sets of words, in percent; needs WordNet's dictionary."""

    name = "wups"
    title = "WUPS (DAQUAR)"
    source = "Malinowski and Fritz 2014; calculate_wups.py of DAQUAR"
    truth: ClassVar[Roles] = {"answer": ("answer", "answers")}
    headline = "wups_0.9"
    means = frozenset({"wups_0.9"})
    scale = 100.0

    def __init__(self) -> None:
        self._similarity = WordNet()

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        answer = one_text(truth["answer"], "true answer")
        strict, lenient = (wups(prediction, answer, threshold, self._similarity) for threshold in (0.9, 0.0))
        same = wups(prediction, answer, 1.0, _no_similarity)
        return Judgement(strict, prediction, answer, {"wups_0.0": lenient, "accuracy": same})


def _no_similarity(one: str, other: str) -> float:
    return 0.0


class ExactMatch(_Mean):
    """The share of answers, in percent, that equal a true one without case, punctuation and articles."""

    name = "exact-match"
    title = "Exact match (SQuAD)"
    source = "Rajpurkar et al. 2018; evaluate-v2.0.py of SQuAD"
    headline = "exact_match"
    means = frozenset({"exact_match"})
    scale = 100.0

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        answers = texts(truth["answers"], "true answers")
        return Judgement(float(exact_match(prediction, answers)), normalise_squad(prediction), answers[0])


class TokenF1(_Mean):
    """The mean F1 of words, in percent, against the best true answer; and exact match."""

    name = "token-f1"
    title = "Token F1 (SQuAD)"
    source = ExactMatch.source
    headline = "f1"
    means = frozenset({"f1"})
    scale = 100.0

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        answers = texts(truth["answers"], "true answers")
        extra = {"exact_match": float(exact_match(prediction, answers))}
        return Judgement(token_f1(prediction, answers), normalise_squad(prediction), answers[0], extra)

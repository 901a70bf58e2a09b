"""VQA accuracy with several annotators: VQAv2, OK-VQA, VizWiz, TextVQA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.foreign_text import foreign_notes, foreign_numbers
from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.truth_values import texts
from vqa_ray.evaluation.vqa_accuracy import agreement, textvqa_forms, vizwiz_forms, vqa_forms
from vqa_ray.text import normalise

OFFICIAL_ANNOTATORS = 10
UNANSWERABLE = "unanswerable"


class VqaV2(Protocol):
    """VQA accuracy as the official script computes it, in percent; it shows two decimals."""

    name = "vqa-v2"
    title = "VQA accuracy (VQAv2)"
    source = "Antol et al. 2015, Goyal et al. 2017; vqaEval.py of GT-Vision-Lab/VQA at a013f00"
    truth: ClassVar[Roles] = {"answers": ("annotator_answers", "answers")}
    optional: ClassVar[Roles] = {"question_type": ("question_type",), "answer_type": ("answer_type",)}
    groups: ClassVar[tuple[str, ...]] = ("question_type", "answer_type")
    scale = 100.0

    # The form in which an answer and those of people are compared.
    forms = staticmethod(vqa_forms)

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        answers = texts(truth["answers"], "annotator answers")
        given, theirs = self.forms(prediction, answers)
        score = agreement(theirs.count(given), len(theirs))
        extra = {"annotators": float(len(answers)), **foreign_numbers(prediction, answers)}
        return Judgement(score, given, max(answers, key=answers.count), extra)

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        answers = texts(truth["answers"], "annotator answers")
        return Judgement(0.0, None, max(answers, key=answers.count), {"annotators": float(len(answers))})

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        # Scores are multiples of 1 / (3 * annotators), whatever they were stored as. They are added up one after the
        # other, as the script does: its second decimal depends on that where the mean lies halfway.
        parts = 3 * np.maximum(1, rows.extra["annotators"])
        exact = np.rint(rows.score * parts) / parts
        total = float(weight.sum())
        return {"accuracy": 100 * float(np.cumsum(exact * weight)[-1]) / total if total else float("nan")}

    def notes(self, rows: JudgedRows) -> list[str]:
        few = int(np.count_nonzero(rows.extra["annotators"] < OFFICIAL_ANNOTATORS))
        found = foreign_notes(rows.extra)
        if not few:
            return found
        return [
            *found,
            f"{few} of {len(rows)} rows have fewer than the {OFFICIAL_ANNOTATORS} annotator answers that VQA accuracy "
            "is made for: full credit still takes 3 others who agree; of a single annotator, an equal answer",
        ]


class OkVqa(VqaV2):
    """OK-VQA: the script of VQAv2, on ten stemmed answers a question."""

    name = "okvqa"
    title = "VQA accuracy (OK-VQA)"
    source = "Marino et al. 2019; the evaluation of VQAv2 (vqaEval.py)"


class TextVqa(VqaV2):
    """TextVQA: answers are always normalised, by the rules of its evaluation server."""

    name = "textvqa"
    title = "VQA accuracy (TextVQA)"
    source = "Singh et al. 2019; TextVQAAccuracyEvaluator of facebookresearch/mmf at 2dc099a"
    forms = staticmethod(textvqa_forms)


class OkVqaLmmsEval(TextVqa):
    """OK-VQA as lmms-eval scores it: by the rules of TextVQA."""

    name = "okvqa-lmms-eval"
    title = "VQA accuracy (OK-VQA, lmms-eval)"
    source = "EvolvingLMMs-Lab/lmms-eval, tasks/ok_vqa/utils.py at 03b2f7c"


class VizWiz(VqaV2):
    """VizWiz: as its API computes it, where people's answers are compared as they are; and whether it can be answered.

    A prediction calls a question unanswerable by the answer "unanswerable".
    """

    name = "vizwiz"
    title = "VQA accuracy (VizWiz)"
    source = "Gurari et al. 2018; vqaEval.py of the VizWiz API"
    optional: ClassVar[Roles] = {"answer_type": ("answer_type",), "answerable": ("answerable",)}
    groups: ClassVar[tuple[str, ...]] = ("answer_type",)
    forms = staticmethod(vizwiz_forms)

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        judged = super().judge(prediction, truth)
        said = normalise(prediction) == UNANSWERABLE
        extra = {**judged.extra, "said_unanswerable": float(said), "unanswerable": _unanswerable(truth)}
        return Judgement(judged.score, judged.read_as, judged.truth, extra)

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        judged = super().judge_absent(truth)
        extra = {**judged.extra, "said_unanswerable": 0.0, "unanswerable": _unanswerable(truth)}
        return Judgement(0.0, None, judged.truth, extra)

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        said, true = rows.extra["said_unanswerable"] > 0, rows.extra["unanswerable"] > 0
        hits, claims = float(weight @ (said & true)), float(weight @ said + weight @ true)
        f1 = 100 * 2 * hits / claims if claims else float("nan")
        return {**super().measures(rows, weight), "unanswerable_f1": f1}

    def support(self, rows: JudgedRows, measure: str) -> npt.NDArray[np.bool_]:
        return (rows.extra["said_unanswerable"] > 0) | (rows.extra["unanswerable"] > 0)


class VizWizLmmsEval(VizWiz):
    """VizWiz as lmms-eval scores it: people's answers are normalised too, by the rules of TextVQA."""

    name = "vizwiz-lmms-eval"
    title = "VQA accuracy (VizWiz, lmms-eval)"
    source = "EvolvingLMMs-Lab/lmms-eval, tasks/vizwiz_vqa/utils.py at 043b483"
    forms = staticmethod(textvqa_forms)


def _unanswerable(truth: Mapping[str, Any]) -> float:
    answerable = truth.get("answerable")
    return float(truth.get("answer_type") == UNANSWERABLE if answerable is None else not answerable)

"""OCRBench: reading text in images, 1,000 questions of ten types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.spelled_list import answers_of

# Formulas: their spaces and line breaks do not count, the case of their letters does.
_FORMULAS = "HME100k"
# The official parts of the final score: measure → types of questions.
_PARTS = {
    "text_recognition": (
        *("Regular Text Recognition", "Irregular Text Recognition", "Artistic Text Recognition"),
        *("Handwriting Recognition", "Digit String Recognition", "Non-Semantic Text Recognition"),
    ),
    "scene_text_vqa": ("Scene Text-centric VQA",),
    "document_vqa": ("Doc-oriented VQA",),
    "key_information": ("Key Information Extraction",),
    "handwritten_mathematics": ("Handwritten Mathematical Expression Recognition",),
}


class OcrBench(Protocol):
    """An answer is right if it contains one of the right answers; the final score counts right answers.

    Case, line breaks and outer spaces do not count. In formulas, of the data set HME100k, spaces do not and case does.
    """

    name = "ocrbench"
    title = "OCRBench"
    source = "Liu et al., OCRBench (2023); Yuliang-Liu/MultimodalOCR OCRBench/example.py @f5cbec66"
    truth: ClassVar[Roles] = {"answers": ("annotator_answers", "answers", "answer")}
    optional: ClassVar[Roles] = {
        "type": ("type", "question_type"),
        "dataset": ("dataset_name", "dataset"),
    }
    groups = ("type", "dataset")
    headline = "final_score"

    def judge(self, prediction: Any, truth: Mapping[str, Any]) -> Judgement:
        answers = answers_of(truth["answers"])
        is_formula = truth.get("dataset") == _FORMULAS
        said = _plain(prediction, is_formula=is_formula)
        right = [_plain(answer, is_formula=is_formula) for answer in answers]
        if not all(right):
            raise ValueError("an answer is empty; every text contains it")
        return Judgement(float(any(each in said for each in right)), said or None, answers[0])

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        return self.judge("", truth)

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        """See `Protocol.measures`: how many answers are right, in all and of the official parts that occur."""
        right = weight * rows.score
        parts = rows.kept("parts", lambda: self.parts(rows)).items()
        return {
            "final_score": float(right.sum()),
            **super().measures(rows, weight),
            **{name: float(right[within].sum()) for name, within in parts},
        }

    def parts(self, rows: JudgedRows) -> Mapping[str, npt.NDArray[np.bool_]]:
        """See `Protocol.parts`: the official parts of the final score."""
        types, codes = rows.codes("type")
        found = {name: np.array([kind in kinds for (kind,) in types])[codes] for name, kinds in _PARTS.items()}
        return {name: within for name, within in found.items() if within.any()}


def _plain(text: str, *, is_formula: bool) -> str:
    if is_formula:
        return text.strip().replace("\n", " ").replace(" ", "")
    return text.lower().strip().replace("\n", " ")

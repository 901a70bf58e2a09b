"""POPE: is there such an object in the image?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.binary import pope_said_yes
from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.truth_values import yes

_YES_OR_NO = re.compile(r"\b(yes|no|not)\b", re.IGNORECASE)
_WORD = {True: "yes", False: "no"}


class Pope(Protocol):
    """Accuracy, precision, recall, F1 of "yes" and the share of predictions that are yes, 0..1.

    The official script reads every answer without the word no, No or not in its first sentence as yes. A row without a
    prediction is no yes; it is a missed one where yes is true.
    """

    name = "pope"
    title = "POPE"
    source = "Li et al. 2023; evaluate.py of AoiDragon/POPE at f3ec604"
    truth: ClassVar[Roles] = {"label": ("truth", "label", "answer")}
    optional: ClassVar[Roles] = {"split": ("split", "category")}
    groups = ("split",)

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        said, label = pope_said_yes(prediction), yes(truth["label"], "label")
        unclear = float(_YES_OR_NO.search(prediction) is None)
        return Judgement(float(said == label), _WORD[said], _WORD[label], {"unclear": unclear})

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        return Judgement(0.0, None, _WORD[yes(truth["label"], "label")], {"unclear": 0.0})

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        said, true = rows.read_as == "yes", rows.truth == "yes"
        hits, said_yes, true_yes = (float(weight @ each) for each in (said & true, said, true))
        total = float(weight.sum())
        precision, recall = _ratio(hits, said_yes), _ratio(hits, true_yes)
        return {
            "accuracy": _ratio(float(weight @ rows.score), total),
            "precision": precision,
            "recall": recall,
            "f1": _ratio(2 * precision * recall, precision + recall),
            "yes_ratio": _ratio(said_yes, total),
        }

    def support(self, rows: JudgedRows, measure: str) -> npt.NDArray[np.bool_]:
        said, true = (np.array([text == "yes" for text in column]) for column in (rows.read_as, rows.truth))
        about = {"precision": said, "recall": true, "f1": said | true}
        return about[measure] if measure in about else np.ones(len(rows), bool)

    def notes(self, rows: JudgedRows) -> list[str]:
        unclear = int(rows.extra["unclear"].sum())
        return (
            [f"{unclear} of {len(rows)} answers say neither yes nor no; POPE's rule reads them as yes"]
            if unclear
            else []
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")

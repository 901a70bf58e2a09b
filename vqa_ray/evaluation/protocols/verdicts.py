"""Verdicts of people on the answers of a run, as `vqa-ray review` writes them, on a sample with known probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.text import normalise

_VERDICTS = ("right", "wrong", "other")


class Verdicts(Protocol):
    """The share of right answers, 0..1, as people judged them; each row counts 1 / its probability to be in the sample.

    The verdict holds for the answer that was reviewed, and for equal ones of other runs. Another answer is right where
    it is the right one that was typed, and wrong where the reviewed one was right or another was typed. Where the right
    answer is not known, a verdict on another answer says nothing: the row has no usable truth, and is counted apart.
    """

    name = "verdicts"
    title = "Verdicts of people"
    source = "The verdicts of vqa-ray review; ratio estimator of Hájek 1971"
    truth: ClassVar[Roles] = {"verdict": ("verdict",)}
    optional: ClassVar[Roles] = {
        "reviewed": ("prediction",),
        "answer": ("answer",),
        "probability": ("inclusion_probability",),
    }
    means: ClassVar[frozenset[str]] = frozenset()

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        verdict, answer = _verdict(truth), truth["answer"]
        said, reviewed = normalise(prediction), normalise(str(truth["reviewed"] or ""))
        if said == reviewed:
            right = verdict == "right"
        elif answer is not None:
            right = said == normalise(str(answer))
        else:
            raise ValueError("the right answer is not known, and another answer was reviewed")
        return Judgement(float(right), prediction, _text(answer), self._weight(truth))

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        _verdict(truth)
        return Judgement(0.0, None, _text(truth["answer"]), self._weight(truth))

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        weights = weight * np.where(rows.extra["weight"] > 0, rows.extra["weight"], 1.0)
        total = weights.sum()
        return {"accuracy": float(rows.score @ weights / total) if total else float("nan")}

    def support(self, rows: JudgedRows, measure: str) -> npt.NDArray[np.bool_]:
        return np.ones(len(rows), bool)

    def notes(self, rows: JudgedRows) -> list[str]:
        weights = rows.extra["weight"]
        if weights.min() == weights.max():
            return []
        return [f"rows count between {weights.min():.3g} and {weights.max():.3g}: one over their probability"]

    @staticmethod
    def _weight(truth: Mapping[str, Any]) -> dict[str, float]:
        probability = 1.0 if truth["probability"] is None else float(truth["probability"])
        if not 0 < probability <= 1:
            raise ValueError(f"inclusion_probability {probability}: wanted more than 0, at most 1")
        return {"weight": 1 / probability}


def _verdict(truth: Mapping[str, Any]) -> str:
    verdict = str(truth["verdict"]).strip().lower()
    if verdict not in _VERDICTS:
        raise ValueError(f"verdict {verdict!r}: wanted {', '.join(_VERDICTS)}")
    return verdict


def _text(answer: Any) -> str | None:
    return None if answer is None else str(answer)

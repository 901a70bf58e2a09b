"""Retrieval: which images fit a query, and in which order they are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.ranked_queries import RankedQueries
from vqa_ray.evaluation.truth_values import yes

_KS = (1, 5, 10)
_NDCG_K = 10


class Retrieval(Protocol):
    """Means over queries of precision and recall among the first k, average precision and nDCG at 10, 0..1.

    Rows are ranked within their query by score; those without a score, in error and missing ones come last. Queries
    with no relevant image are left out of the means. `accuracy` is the share of rows whose match agrees with the truth.
    """

    name = "retrieval"
    title = "Retrieval: precision and recall at k, mean average precision, nDCG"
    source = "Definitions as in scikit-learn and trec_eval; average_precision_score and ndcg_score"
    prediction = "match"
    truth: ClassVar[Roles] = {"relevant": ("relevant", "truth", "match", "label")}
    optional: ClassVar[Roles] = {"query": ("query", "text", "question")}
    groups = ("query",)
    units = ("query",)
    headline = "map"

    def judge(self, prediction: bool, truth: Mapping[str, Any]) -> Judgement:
        relevant, score = yes(truth["relevant"], "relevant"), truth.get("scores")
        extra = {"relevant": float(relevant), "scored": float(score is not None), "score": float(score or 0.0)}
        return Judgement(float(prediction == relevant), _word(prediction), _word(relevant), extra)

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        relevant = yes(truth["relevant"], "relevant")
        return Judgement(0.0, None, _word(relevant), {"relevant": float(relevant), "scored": 0.0, "score": 0.0})

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        ranked = rows.kept("ranked", lambda: _ranked(rows))
        return ranked.measures(weight, _KS, _NDCG_K) | super().measures(rows, weight)

    def notes(self, rows: JudgedRows) -> list[str]:
        if unscored := int((rows.extra["scored"] == 0).sum()):
            told = "have no score and come last; without any score the order of the rows says nothing"
            return [f"{unscored:,} of {len(rows):,} rows {told}"]
        return []


def _ranked(rows: JudgedRows) -> RankedQueries:
    lowest = rows.extra["score"].min() - 1
    scores = np.where(rows.extra["scored"] > 0, rows.extra["score"], lowest)
    return RankedQueries(rows.codes("query")[1], rows.extra["relevant"] > 0, scores)


def _word(fits: bool) -> str:
    return "match" if fits else "no match"

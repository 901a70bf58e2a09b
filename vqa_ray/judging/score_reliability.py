"""How far the scores of an evaluation's predictions can be believed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.evaluation.reliability import Reliability, reliability
from vqa_ray.judging.rows import MEASURED

COLUMNS = ("prediction", "confidence", "score", "outcome")


def score_reliability(tables: Iterable[pa.Table], kind: str) -> Reliability | None:
    """Measure the scores of measured rows that have one; None where no row does.

    Args:
        tables: with COLUMNS.
        kind: of prediction. The score of a `match` is that of a match, so that 1 − score is that of no match.
    """
    scores, right = [np.empty(0, np.float32)], [np.empty(0, np.float64)]
    for table in tables:
        is_measured = pc.is_in(table["outcome"], pa.array(MEASURED))
        rows = table.filter(pc.and_(is_measured, pc.is_finite(pc.fill_null(table["confidence"], np.nan))))
        confidence = rows["confidence"].to_numpy()
        if kind == "match":
            confidence = np.where(pc.equal(rows["prediction"], "false"), 1 - confidence, confidence)
        scores.append(confidence)
        right.append(rows["score"].to_numpy())
    every = np.concatenate(scores)
    return reliability(every, np.concatenate(right)) if len(every) else None

"""How far the scores of an evaluation's predictions can be believed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.evaluation.reliability import Reliability, reliability
from vqa_ray.judging.rows import MEASURED

COLUMNS = ("prediction", "confidence", "score", "outcome")


def odd_scores(tables: Iterable[pa.Table]) -> int:
    """Return how many measured rows have a score that is no number from 0 to 1."""
    odd = 0
    for table in tables:
        has_odd = pc.and_not(pc.is_valid(table["confidence"]), _is_share(table))
        odd += table.filter(pc.and_(_is_measured(table), has_odd)).num_rows
    return odd


def score_reliability(tables: Iterable[pa.Table], kind: str) -> Reliability | None:
    """Measure the scores of measured rows that have one from 0 to 1; None where no row does.

    Args:
        tables: with COLUMNS.
        kind: of prediction. The score of a `match` is that of a match, so that 1 − score is that of no match.
    """
    scores, right = [np.empty(0, np.float32)], [np.empty(0, np.float64)]
    for table in tables:
        rows = table.filter(pc.and_(_is_measured(table), _is_share(table)))
        confidence = rows["confidence"].to_numpy()
        if kind == "match":
            confidence = np.where(pc.equal(rows["prediction"], "false"), 1 - confidence, confidence)
        scores.append(confidence)
        right.append(rows["score"].to_numpy())
    every = np.concatenate(scores)
    return reliability(every, np.concatenate(right)) if len(every) else None


def _is_measured(table: pa.Table) -> pa.ChunkedArray:
    return pc.is_in(table["outcome"], pa.array(MEASURED))


def _is_share(table: pa.Table) -> pa.ChunkedArray:
    scores = pc.fill_null(table["confidence"], np.nan)
    return pc.and_(pc.greater_equal(scores, 0.0), pc.less_equal(scores, 1.0))

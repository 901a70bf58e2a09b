"""Directories of `evaluate`, written without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.judging.record import EvaluationRecord, Group, Measure
from vqa_ray.judging.rows import judged_schema, read_judged
from vqa_ray.judging.score_reliability import COLUMNS, score_reliability
from vqa_ray.storage.atomic import write_table_atomic


def evaluated(
    key: str, prediction: str | None, truth: str | None, *, outcome: str = "judged", **more: Any
) -> dict[str, Any]:
    """A row of an evaluation: right where the prediction is the truth."""
    score = None if outcome == "no_truth" else float(outcome == "judged" and prediction == truth)
    read_as = prediction if outcome == "judged" else None
    said = {"prediction": prediction, "read_as": read_as, "truth": truth, "score": score, "outcome": outcome}
    return {"key": key, "image_id": f"{key}.jpg", "question": "what is it?", **said, **more}


def write_evaluation(
    place: Path, rows: Sequence[Mapping[str, Any]], *, by: Sequence[str] = (), **record: Any
) -> EvaluationRecord:
    """Write the rows in two files, and the record; return that."""
    form, half = judged_schema(by, ()), len(rows) // 2
    for number, some in enumerate((rows[:half], rows[half:])):
        write_table_atomic(
            EvaluationDirectory(str(place)).rows_file(number), pa.Table.from_pylist(list(map(dict, some)), form)
        )
    judged = [row for row in rows if row["score"] is not None]
    measures = [_measure(judged)]
    for column in by:
        for value in dict.fromkeys(row[column] for row in judged):
            measures.append(_measure([row for row in judged if row[column] == value], Group(column, value)))
    usual: dict[str, Any] = {
        **{"version": "0", "protocol": "exact-match", "title": "Exact match", "source": "a paper"},
        **{"truth": "truth.jsonl", "predictions": "nowhere", "job": "answer", "model": "fake:", "key": "question_id"},
        "by": list(by),
        "rows": {"truth": len(judged), "predictions": len(rows), **Counter(row["outcome"] for row in rows)},
        "errors": dict(Counter(row["error_code"] for row in rows if row.get("error_code"))),
        **{"headline": "accuracy", "scale": 1.0, "measures": measures},
        "interval": {"level": 0.95, "clusters": "image_id", "method": {"accuracy": "analytic"}},
        "calibration": score_reliability(read_judged(str(place), COLUMNS), "text"),
    }
    made = EvaluationRecord(**usual | record)
    made.write(str(place))
    return made


def _measure(rows: Sequence[Mapping[str, Any]], group: Group | None = None) -> Measure:
    value = sum(row["score"] for row in rows) / len(rows)
    reach = 1.96 * (value * (1 - value) / len(rows)) ** 0.5
    return Measure("accuracy", value, value - reach, value + reach, len(rows), len(rows), group)

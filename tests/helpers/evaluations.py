"""Directories of `evaluate`, written without it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vqa_ray.storage.atomic import write_table_atomic

ROWS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("key", "attribute", "image_id", "image_uri", "question")),
        *(pa.field(name, pa.string()) for name in ("prediction", "read_as", "truth")),
        pa.field("score", pa.float32()),
        pa.field("outcome", pa.string()),
        pa.field("error_code", pa.string()),
        pa.field("confidence", pa.float32()),
    ]
)


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
) -> dict[str, Any]:
    """Write the rows in two files and `evaluation.json`; return what that holds."""
    form = pa.schema([*ROWS, *(pa.field(name, pa.string()) for name in by)])
    half = len(rows) // 2
    for number, some in enumerate((rows[:half], rows[half:])):
        write_table_atomic(str(place / "rows" / f"part-{number}.parquet"), pa.Table.from_pylist(list(some), form))
    judged = [row for row in rows if row["score"] is not None]
    measures = [_measure(judged)]
    for column in by:
        for value in dict.fromkeys(row[column] for row in judged):
            group = {"column": column, "value": value}
            measures.append({**_measure([row for row in judged if row[column] == value]), "group": group})
    outcomes = Counter(row["outcome"] for row in rows)
    content = {
        **{"format": 1, "version": "0", "protocol": "exact-match", "title": "Exact match", "source": "a paper"},
        **{"truth": "truth.jsonl", "predictions": "nowhere", "job": "answer", "model": "fake:", "key": "question_id"},
        "by": list(by),
        "rows": {"truth": len(judged), "predictions": len(rows), **outcomes},
        "errors": dict(Counter(row["error_code"] for row in rows if row.get("error_code"))),
        "headline": "accuracy",
        "measures": measures,
        "interval": {"level": 0.95, "clusters": "image_id", "method": {"accuracy": "analytic"}},
        "notes": [],
        **record,
    }
    (place / "evaluation.json").write_text(json.dumps(content))
    return content


def _measure(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    value = sum(row["score"] for row in rows) / len(rows)
    reach = 1.96 * (value * (1 - value) / len(rows)) ** 0.5
    return {"name": "accuracy", "value": value, "low": value - reach, "high": value + reach, "n": len(rows)}

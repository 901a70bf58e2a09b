"""The scores of judged rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.evaluations import evaluated, write_evaluation
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.judging.rows import JUDGED
from vqa_ray.judging.score_reliability import odd_scores, score_reliability


def rows(*given: dict[str, Any]) -> list[pa.Table]:
    return [pa.Table.from_pylist([{"outcome": "judged", **row}], JUDGED) for row in given]


def test_measured_rows_with_a_score_count() -> None:
    tables = rows(
        {"score": 1.0, "confidence": 0.75},
        {"score": 0.0, "confidence": 0.25, "outcome": "unparsed"},
        {"score": 0.0, "confidence": None, "outcome": "failed"},
        {"score": None, "confidence": 0.9, "outcome": "no_truth"},
        {"score": 1.0, "confidence": float("nan")},
    )
    found = score_reliability(tables, "text")
    assert found is not None
    assert (found.n, found.equal_width.error) == (2, 0.25)
    assert score_reliability(tables[2:], "text") is None
    assert score_reliability([], "text") is None


def test_an_image_that_is_no_match_is_as_sure_as_its_score_is_low() -> None:
    sure = {"score": 1.0, "confidence": 0.125, "prediction": "false"}
    found = score_reliability(rows(sure, {"score": 0.0, "confidence": 0.875, "prediction": "true"}), "match")
    assert found is not None
    assert [(each.n, each.confidence, each.accuracy) for each in found.equal_width.bins] == [(2, 0.875, 0.5)]


def test_the_record_keeps_it(tmp_path: Path) -> None:
    made = write_evaluation(tmp_path, [evaluated(f"{n}", "mug", "mug", confidence=n / 4) for n in range(4)])
    read = EvaluationRecord.read(str(tmp_path))
    assert read is not None
    assert read.calibration == made.calibration
    assert read.calibration is not None
    assert read.calibration.equal_width.error == pytest.approx(0.625)


def test_scores_that_are_no_share_are_left_out_and_counted() -> None:
    odd = [{"score": 1.0, "confidence": each} for each in (float("nan"), float("inf"), -1.0, 2.0)]
    tables = rows(*odd, {"score": 1.0, "confidence": 1.0}, {"score": 1.0}, {"confidence": 3.0, "outcome": "no_truth"})
    found = score_reliability(tables, "text")
    assert found is not None
    assert (found.n, found.equal_width.error) == (1, 0.0)
    assert odd_scores(tables) == 4

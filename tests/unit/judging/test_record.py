"""The record of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import parquet

from vqa_ray.errors import RequestError
from vqa_ray.judging.record import MEASURES, EvaluationRecord, Group, Measure


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    measures = [Measure("accuracy", 0.5, 0.4, 0.6, 100, 50), Measure("f1", None, None, None, 3, 1, Group("kind", "a"))]
    record = EvaluationRecord(
        *("1", "pope", "POPE", "Li et al.", None, "run", "answer", "fake:", "question_id", ["kind"]),
        *({"judged": 100}, {}, "accuracy", 1.0, measures, {"level": 0.95}, ["one"]),
    )
    assert EvaluationRecord.read(str(tmp_path)) is None
    record.write(str(tmp_path))
    assert EvaluationRecord.read(str(tmp_path)) == record
    assert record.first == measures[0]
    assert parquet.read_schema(tmp_path / "measures.parquet").equals(MEASURES)


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"format": 2}')
    with pytest.raises(RequestError, match=r"evaluation.json: format 2 of another version; this one reads 1"):
        EvaluationRecord.read(str(tmp_path))

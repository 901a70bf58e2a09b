"""Notes beside an accuracy: interval, baseline, and a model that says one thing only."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.unit.training.labelled import labelled
from vqa_ray.evaluation.clustered_mean import wilson_interval
from vqa_ray.training.validation_notes import accuracy_notes
from vqa_ray.training.vqa.validate import RESULTS, metrics_of

TRUTH = [["No"]] * 12 + [["yes"]] * 8


def notes(given: list[str]) -> tuple[str, ...]:
    rows = [
        {"source_key": key, "loss": 1.0, "answer": answer, "answer_score": 0.5, "status": "ok"}
        for key, answer in enumerate(given)
    ]
    results, validation = pa.Table.from_pylist(rows, RESULTS), labelled(*TRUTH)
    return accuracy_notes(results, validation, metrics_of(results, validation), labelled(*TRUTH))


def test_a_model_that_says_one_thing_is_told() -> None:
    assert notes(["no"] * 20) == (
        "accuracy 0.6000: 95 % interval 0.387 to 0.781 over 20 rows; 20 rows say little",
        "baseline: always 'No', the most frequent answer, has accuracy 0.6000; the model does not beat it",
        "all 20 rows were answered 'no'",
    )


def test_a_model_that_learnt_stands_beside_the_baseline() -> None:
    told = notes(["no"] * 12 + ["yes"] * 8)
    assert len(told) == 2
    assert told[1].endswith("has accuracy 0.6000; the model is at 1.0000")


@pytest.mark.parametrize(
    ("share", "count", "wanted"), [(0.5, 100, (0.404, 0.596)), (0.0, 10, (0.0, 0.278)), (1, 1, (0.207, 1))]
)
def test_wilson(share: float, count: int, wanted: tuple[float, float]) -> None:
    assert wilson_interval(share, count, 1.959964) == pytest.approx(wanted, abs=1e-3)

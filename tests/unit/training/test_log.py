"""The log of a training: nothing is lost when it is thinned, broken off and taken up again, or written as Parquet."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.training.log import METRICS, StepRecord, TrainingLog, ValidationRecord, should_stop

NUMBERS = st.floats(0, 1e6)
STEPS = st.lists(
    st.tuples(NUMBERS, st.integers(0, 64), NUMBERS, st.sampled_from(["", "image_too_large", "model_error"]))
)


def step(number: int, **given: Any) -> StepRecord:
    values: dict[str, Any] = {"loss": 2.0, "learning_rate": 1e-4, "samples": 8, "seconds": 0.5, "gradient_norm": 1.0}
    return StepRecord(**{"step": number, "epoch": 0, **values, **given})


def validation(number: int, accuracy: float = 0.5, **given: Any) -> ValidationRecord:
    return ValidationRecord(**{"step": number, "epoch": 0, "loss": 1.0, "accuracy": accuracy, "rows": 10, **given})


def records(drawn: list[tuple[float, int, float, str]]) -> list[StepRecord]:
    return [
        step(number, loss=loss, samples=samples, seconds=seconds, skipped={code: 1} if code else {})
        for number, (loss, samples, seconds, code) in enumerate(drawn, 1)
    ]


def filled(steps: list[StepRecord], limit: int) -> TrainingLog:
    log = TrainingLog(limit)
    for record in steps:
        log.add_step(record)
    return log


@given(STEPS, st.integers(2, 9))
def test_thinning_keeps_sums_and_weighted_means(drawn: list[tuple[float, int, float, str]], limit: int) -> None:
    steps = records(drawn)
    log = filled(steps, limit)
    assert len(log.train) <= limit
    assert all(record.steps == log.every for record in log.train[:-1])
    assert sum(record.steps for record in log.train) == len(steps) == log.steps
    assert log.samples == sum(record.samples for record in steps)
    assert log.seconds == pytest.approx(sum(record.seconds for record in steps))
    assert sum(log.skipped.values()) == sum(sum(record.skipped.values()) for record in steps)
    weighted = sum(record.loss * record.samples for record in log.train)
    assert weighted == pytest.approx(sum(record.loss * record.samples for record in steps))


@given(STEPS, st.integers(2, 9), st.data())
def test_a_log_that_is_taken_up_again_is_the_undisturbed_one(
    drawn: list[tuple[float, int, float, str]], limit: int, data: st.DataObject
) -> None:
    steps = records(drawn)
    broken = data.draw(st.integers(0, len(steps)))
    log = TrainingLog.from_json(json.loads(json.dumps(filled(steps[:broken], limit).to_json())))
    for record in steps[broken:]:
        log.add_step(record)
    assert log.to_json() == filled(steps, limit).to_json()


def test_a_hundred_thousand_steps_stay_small() -> None:
    log = filled([step(number, loss=100_000 / number) for number in range(1, 100_001)], 1_024)
    assert 512 <= len(log.train) <= 1_024
    assert len(json.dumps(log.to_json())) < 300_000
    assert log.train[0].loss == pytest.approx(sum(100_000 / number for number in range(1, log.every + 1)) / log.every)


@pytest.mark.parametrize("number", [1, 2, 4, 0])
def test_each_step_is_recorded_once(number: int) -> None:
    log = filled([step(1), step(2)], 10)
    with pytest.raises(ValueError, match=f"step {number} was recorded for 1 steps; expected 3 for 1"):
        log.add_step(step(number))
    log.add_step(step(3))
    assert log.steps == 3


def test_each_validation_is_recorded_once() -> None:
    log = TrainingLog()
    log.add_validation(validation(5))
    for number in (5, 4):
        with pytest.raises(ValueError, match=f"validation at step {number} was recorded after that at 5"):
            log.add_validation(validation(number))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(number: float) -> None:
    log = TrainingLog()
    with pytest.raises(ValueError, match="step 1: not all of"):
        log.add_step(step(1, loss=number))
    with pytest.raises(ValueError, match="validation at step 1: not all of"):
        log.add_validation(validation(1, loss=number))


def test_a_log_of_one_record_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        TrainingLog(1)


def test_steps_without_rows_have_no_loss() -> None:
    log = filled([step(1, loss=3.0), step(2, loss=0.0, samples=0, skipped={"model_error": 8})], 2)
    assert log.to_table()["loss"].to_pylist() == [3.0, None]
    log.add_step(step(3, loss=0.0, samples=0))
    assert (log.train[0].loss, log.train[0].samples) == (3.0, 8)


def test_the_table_goes_through_parquet(tmp_path: Path) -> None:
    log = filled([step(1, skipped={"image_too_large": 2}), step(2, epoch=1)], 10)
    log.add_validation(
        validation(1, 0.25, accuracy_by_type={"number": 0.5, "yes/no": 0.0}, rows_by_type={"number": 5, "yes/no": 5})
    )
    log.add_validation(validation(2, 0.75, skipped={"model_error": 1}, seconds=2.0))
    path = tmp_path / "metrics.parquet"
    pq.write_table(log.to_table(), path)
    table = pq.read_table(path)
    assert table.schema.equals(METRICS)
    assert table.equals(log.to_table())
    rows = table.to_pylist(maps_as_pydicts="strict")
    assert [(row["kind"], row["step"]) for row in rows] == [
        ("train", 1),
        ("validation", 1),
        ("train", 2),
        ("validation", 2),
    ]
    first, judged = rows[0], rows[1]
    assert (first["loss"], first["samples"], first["samples_per_s"], first["steps"]) == (2.0, 8, 16.0, 1)
    assert (first["skipped"], first["accuracy"], first["rows"]) == ({"image_too_large": 2}, None, None)
    assert (judged["accuracy"], judged["rows"], judged["learning_rate"]) == (0.25, 10, None)
    assert judged["accuracy_by_type"] == {"number": 0.5, "yes/no": 0.0}
    assert judged["rows_by_type"] == {"number": 5, "yes/no": 5}
    assert rows[3]["skipped"] == {"model_error": 1}
    assert TrainingLog().to_table().schema.equals(METRICS)


def test_speed_and_best() -> None:
    log = TrainingLog()
    assert (log.steps, log.samples, log.samples_per_s, log.best) == (0, 0, 0.0, None)
    log.add_step(step(1, seconds=2.0))
    for number, accuracy in enumerate([0.2, 0.6, 0.6, 0.4], 1):
        log.add_validation(validation(number, accuracy))
    assert log.samples_per_s == 4.0
    assert log.best is log.validations[1]


@pytest.mark.parametrize(
    ("accuracies", "patience", "min_delta", "stops"),
    [
        ([], 1, 0.0, False),
        ([0.5], 1, 0.0, False),
        ([0.5, 0.5], 1, 0.0, True),
        ([0.5, 0.4], 2, 0.0, False),
        ([0.5, 0.4, 0.5], 2, 0.0, True),
        ([0.5, 0.4, 0.6], 2, 0.0, False),
        ([0.5, 0.4, 0.45, 0.49], 3, 0.0, True),
        ([0.5, 0.55, 0.58], 2, 0.1, True),
        ([0.5, 0.55, 0.61], 2, 0.1, False),
        ([0.0, 0.0], 2, 0.0, False),
        ([0.5, 0.4, 0.3, 0.2], None, 0.0, False),
    ],
)
def test_when_to_stop(accuracies: list[float], patience: int | None, min_delta: float, stops: bool) -> None:
    seen = [validation(number, accuracy) for number, accuracy in enumerate(accuracies, 1)]
    assert should_stop(seen, patience, min_delta) is stops


def test_a_patience_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="patience 0"):
        should_stop([], 0)
    with pytest.raises(ValueError, match="min_delta -1"):
        should_stop([], 1, -1.0)

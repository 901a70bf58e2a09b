"""What a sample says of the whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vqa_ray.jobs.plan.forecast import Question, Sample, forecast, lines, steady
from vqa_ray.runs.progress import Point, Progress

# Ten seconds until the first rows; the first ones are quick because they were decoded before; a drain at the end.
HISTORY = [
    Point(0.0, 0),
    *(Point(10.0 + second, 500 + 20 * second) for second in range(61)),
    *(Point(70.0 + second, 1700 + 200 * second) for second in range(1, 4)),
]
PROGRESS = Progress(
    "r",
    1,
    0.0,
    75.0,
    0,
    2300,
    history=HISTORY,
    actors=4,
    stage_rows=2000,
    busy_s=200.0,
    idle_s=20.0,
    cpus=16.0,
    gpus_per_actor=1.0,
    stages_s={"read": 23.0, "decode": 460.0, "model": 230.0, "write": 23.0},
)
SAMPLE = Sample(PROGRESS, 60.0, 4_600_000, 2300)


def test_a_sample_is_measured_without_its_beginning_and_its_end() -> None:
    points = steady(HISTORY, 60.0)
    assert (points[0].at, points[-1].at) == (25.0, 70.0)
    plan = forecast(SAMPLE, Question(1_000_000, 5_000_000))
    assert plan.rows_per_s == pytest.approx(20)
    assert plan.start_s == 10
    assert plan.hours == pytest.approx((10 + 1_000_000 / 20) / 3600)
    assert plan.output_bytes == 2_000_000_000


def test_the_busiest_stage_is_the_bottleneck() -> None:
    plan = forecast(SAMPLE, Question(1_000_000))
    assert (plan.bottleneck, plan.rows_per_s_per_actor) == ("model", 10)
    assert plan.cpus_per_actor == pytest.approx(10 * 506 / 2300)
    waiting = replace(SAMPLE, progress=replace(PROGRESS, idle_s=200.0))
    assert forecast(waiting, Question(1_000_000)).bottleneck == "decode"


def test_a_deadline_and_prices() -> None:
    plan = forecast(SAMPLE, Question(1_000_000, None, 2.0, 3.0, 0.05))
    assert (plan.deadline_actors, plan.deadline_gpus) == (14, 14.0)
    assert plan.deadline_cpus == 31
    assert plan.hours is not None
    assert plan.price == pytest.approx(plan.hours * (4 * 3.0 + 16 * 0.05))
    text = "\n".join(lines(plan))
    assert "whole: 1,000,000 rows in 13 h 53 min on this cluster, price" in text
    assert "deadline: 14 model actors on 14 GPUs, 31 CPUs to feed them" in text
    on_cpus = replace(SAMPLE, progress=replace(PROGRESS, gpus_per_actor=0.0))
    assert "deadline: 7 times this cluster" in "\n".join(lines(forecast(on_cpus, Question(1_000_000, None, 2.0))))


def test_a_deadline_before_the_first_row_and_a_price_of_no_gpu_are_told() -> None:
    on_cpus = replace(SAMPLE, progress=replace(PROGRESS, gpus_per_actor=0.0))
    for sample in (SAMPLE, on_cpus):
        plan = forecast(sample, Question(1_000_000, None, 10 / 3600, 3.0))
        assert (plan.deadline_actors, plan.deadline_clusters) == (None, None)
        text = "\n".join(lines(plan))
        assert "deadline:" not in text
        assert "note: --deadline-hours 0.00277778 is over before the first row: see start" in text
        assert ("--price-per-gpu-hour adds nothing" in text) == (sample is on_cpus)
    assert not forecast(SAMPLE, Question(1_000_000, None, 2.0, 3.0)).warnings


def test_what_is_unknown_is_said() -> None:
    short = replace(PROGRESS, rows=8, history=[Point(0.0, 0), Point(10.0, 8)], stages_s={}, busy_s=0.0, idle_s=0.0)
    plan = forecast(Sample(short, 60.0, 100, 8, tokens=80, cost=0.4), Question(None))
    assert (plan.hours, plan.price, plan.tokens) == (None, None, None)
    assert "too short" in plan.warnings[0]
    assert "the number of rows is unknown; --rows names it" in "\n".join(lines(plan))
    assert forecast(Sample(short, 60.0, 100, 8, tokens=80, cost=0.4), Question(80)).tokens == 800

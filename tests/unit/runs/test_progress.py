"""The progress of a run, as its file holds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.runs.progress import Point, Progress, with_point


def progress(**more: object) -> Progress:
    return Progress("abc", 1, 100.0, 160.0, 0, **more)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    uri = f"{tmp_path}/progress.json"
    assert Progress.read(uri) is None
    state = progress(rows=7, errors={"image_missing": 2}, history=[Point(100.0, 0), Point(110.0, 7)])
    state.write(uri)
    assert Progress.read(uri) == state


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text('{"run_id":')
    with pytest.raises(RequestError, match=r"progress\.json: is damaged"):
        Progress.read(f"{tmp_path}/progress.json")


def test_the_rate_is_that_of_the_last_minutes() -> None:
    slow_start = [Point(0.0, 0), Point(1000.0, 10), Point(1060.0, 610), Point(1120.0, 1210)]
    state = progress(rows=1210, total=2210, history=slow_start)
    assert state.rows_per_s == 10
    assert state.seconds_left == 100
    assert replace(state, total=None, total_estimate=3210).seconds_left == 200
    assert replace(state, total_estimate=3210).seconds_left == 100
    assert progress(rows=5).seconds_left is None


def test_old_points_are_thinned() -> None:
    history: list[Point] = []
    for second in range(0, 20_000, 2):
        history = with_point(history, Point(float(second), second))
    assert len(history) < 300
    assert history[-1] == (19_998.0, 19_998)
    assert with_point(history, history[-1]) == history

"""Charts: round ticks, nothing outside of the drawing, nothing that is no number."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Point,
    Series,
    chart,
    log_ticks,
    shown,
    smoothed,
    ticks,
)

ANY = st.one_of(st.floats(-1e12, 1e12), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e-300, -1e-300, 5e-324]))


def drawn(chart: Chart) -> list[Point]:
    numbers = [
        (float(x), float(y))
        for line in chart.lines
        for path in (line.path, line.faint)
        for x, y in re.findall(r"[ML](\S+) ([^L]+)", path)
    ]
    return numbers + [(dot.x, dot.y) for line in chart.lines for dot in line.dots]


@given(st.lists(st.lists(ANY, max_size=70), max_size=3), st.booleans(), st.booleans(), st.booleans())
def test_whatever_the_values_all_is_drawn_within_the_box(
    values: list[list[float]], noisy: bool, dots: bool, falls: bool
) -> None:
    series = [Series("a", list(enumerate(map(float, ys), 1)), noisy, dots) for ys in values]
    found = chart("k", "t", series, falls=falls)
    assert (found is None) == (not any(math.isfinite(y) for ys in values for y in ys))
    if found is None:
        return
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in drawn(found))
    assert all(TOP <= tick.place <= HEIGHT - BOTTOM for tick in found.y_ticks)
    assert all(LEFT <= tick.place <= WIDTH - RIGHT for tick in found.x_ticks)
    assert 2 <= len(found.y_ticks) <= 13
    assert 2 <= len(found.x_ticks) <= 13
    assert not re.search(r"nan|inf", repr(found).lower())


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9))
def test_ticks_are_round_and_enclose_their_range(low: float, span: float) -> None:
    high = low + span
    marks = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    distance = marks[1] - marks[0]
    first_digit = float(f"{distance:.2e}".split("e")[0])
    assert first_digit in (1, 2, 5) or span <= 1e-5 * max(abs(low), abs(high))
    assert 2 <= len(marks) <= 12


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.93, 0.99, False, [0.92, 0.94, 0.96, 0.98, 1.0]),
        (0, 3, True, [0, 1, 2, 3]),
        (0, 55_000, True, [0, 20_000, 40_000, 60_000]),
        (0.95, 0.95, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-2, -2, False, [-2, -1.5, -1, -0.5, 0]),
    ],
)
def test_ticks(low: float, high: float, whole: bool, expected: list[float]) -> None:
    assert ticks(low, high, whole=whole) == pytest.approx(expected)


def test_ticks_of_a_logarithmic_axis() -> None:
    assert log_ticks(3, 800) == pytest.approx([2, 5, 10, 20, 50, 100, 200, 500, 1000])
    assert log_ticks(0.5, 21_000) == pytest.approx([0.1, 1, 10, 100, 1000, 10_000, 100_000])
    assert len(log_ticks(1e-12, 1e12)) <= 8


def test_a_great_fall_is_drawn_on_a_logarithmic_axis() -> None:
    found = chart("k", "t", [Series("a", [(1, 1000.0), (2, 100.0), (3, 10.0)])], falls=True)
    assert found is not None
    assert found.logarithmic
    heights = [y for _, y in drawn(found)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2)
    for small in (
        chart("k", "t", [Series("a", [(1, 20.0), (2, 1.0)])], falls=True),
        chart("k", "t", [Series("a", [(1, 1000.0), (2, 0.0)])], falls=True),
        chart("k", "t", [Series("a", [(1, 1000.0), (2, 1.0)])]),
    ):
        assert small is not None
        assert not small.logarithmic


def test_lines_stand_where_their_values_do() -> None:
    found = chart("k", "t", [Series("a", [(0, 0.0), (5, 0.5), (10, 1.0)], dots=True)], percent=True)
    assert found is not None
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    middle = ((LEFT + right) / 2, (TOP + bottom) / 2)
    assert found.lines[0].path == f"M{LEFT} {bottom}L{middle[0]:g} {middle[1]:g}L{right} {TOP}"
    assert [tick.text for tick in found.y_ticks] == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert [tick.text for tick in found.x_ticks] == ["0", "2", "4", "6", "8", "10"]
    assert found.lines[0].dots[1].text == "a, 5: 50.0 %"
    assert found.about == "a: from 0.0 % at 0 to 100.0 % at 10, lowest 0.0 %, highest 100.0 %"


def test_one_point_is_a_dot() -> None:
    found = chart("k", "t", [Series("a", [(7, 0.25)]), Series("b", [])])
    assert found is not None
    (line,) = found.lines
    assert (line.path, line.faint, len(line.dots)) == ("", "", 1)
    assert found.about == "a: 0.25 at 7"


def test_noise_is_smoothed_and_stays_to_be_seen() -> None:
    points = [(float(step), float(step % 2)) for step in range(100)]
    found = chart("k", "t", [Series("a", points, noisy=True)])
    assert found is not None
    assert found.lines[0].faint.count("L") == found.lines[0].path.count("L") == 99
    assert found.lines[0].faint != found.lines[0].path
    few = chart("k", "t", [Series("a", points[:10], noisy=True)])
    assert few is not None
    assert few.lines[0].faint == ""


def test_running_mean() -> None:
    points = [(1.0, 0.0), (2.0, 3.0), (3.0, 6.0), (4.0, 0.0)]
    assert smoothed(points, 3) == [(1.0, 1.5), (2.0, 3.0), (3.0, 3.0), (4.0, 3.0)]
    assert smoothed(points, 0) == points


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.3, "0.3"),
        (0.30000000000000004, "0.3"),
        (1500, "1500"),
        (12_000, "12k"),
        (250_000, "250k"),
        (1_500_000, "1.5M"),
        (2e-5, "2e-5"),
        (-0.5, "-0.5"),
        (3e12, "3e+12"),
    ],
)
def test_numbers_at_axes_are_short(value: float, text: str) -> None:
    assert shown(value) == text

"""Line charts as geometry: where lines, dots, grid and words stand. The template draws them, so all text is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Point = tuple[float, float]

# Of the drawing, in its own units; small, so that words stay legible when a narrow page shrinks it little.
WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 10, 38
# A loss that falls from 2,000 to 2 is a wall and a floor on a linear axis.
_LOG_FROM_RATIO = 30.0
_LEAST_ON_LOG = 1e-12
_NOTHING = 1e-30
_MOST_DOTS = 40
_SMOOTH_FROM = 30


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart.

    Attributes:
        name: in the legend.
        points: (x, y), x rising; those that are not finite are left out.
        noisy: draw its running mean, and itself faintly.
        dots: mark its points, with what they are in words.
    """

    name: str
    points: Sequence[Point]
    noisy: bool = False
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid: where it stands and what is written beside it."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """One marked point, and what a pointer over it tells."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One drawn series; `path` and `faint` are SVG path data, empty where there is nothing to draw."""

    name: str
    path: str
    faint: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of WIDTH × HEIGHT units.

    Attributes:
        key: makes ids on the page unique.
        title, about: what it shows, in a few words and in a sentence.
        x_label: of the horizontal axis.
        logarithmic: whether the vertical axis is.
    """

    key: str
    title: str
    about: str
    x_label: str
    logarithmic: bool
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def chart(
    key: str, title: str, series: Iterable[Series], *, percent: bool = False, falls: bool = False
) -> Chart | None:
    """Lay out a chart; None when there is no point to draw.

    Args:
        key: short, of letters; unique on its page.
        title: of the chart.
        series: its lines.
        percent: the values are ratios in 0..1, shown in percent.
        falls: on a logarithmic axis where the values span powers of ten.
    """
    drawn = [Series(each.name, _finite(each.points), each.noisy, each.dots) for each in series]
    drawn = [each for each in drawn if each.points]
    if not drawn:
        return None
    xs = [x for each in drawn for x, _ in each.points]
    ys = [y for each in drawn for _, y in each.points]
    logarithmic = falls and min(ys) >= _LEAST_ON_LOG and max(ys) / min(ys) >= _LOG_FROM_RATIO
    low_x, high_x = min(0.0, *xs), max(1.0, *xs)
    x_marks = [mark for mark in ticks(low_x, high_x, whole=True) if low_x <= mark <= high_x]
    y_marks = log_ticks(min(ys), max(ys)) if logarithmic else ticks(min(ys), max(ys))
    low_y, high_y = min(*ys, y_marks[0]), max(*ys, y_marks[-1])
    scale_x = _Scale(low_x, high_x, LEFT, WIDTH - RIGHT)
    scale_y = _Scale(low_y, high_y, HEIGHT - BOTTOM, TOP, logarithmic)
    return Chart(
        key=key,
        title=title,
        about="; ".join(_told(each, percent) for each in drawn),
        x_label="step",
        logarithmic=logarithmic,
        lines=tuple(_line(each, scale_x, scale_y, percent) for each in drawn),
        x_ticks=tuple(Tick(scale_x(mark), shown(mark)) for mark in x_marks),
        y_ticks=tuple(Tick(scale_y(mark), shown(mark, percent)) for mark in y_marks),
    )


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Five or so round numbers, 1, 2 or 5 times a power of ten apart, that enclose low..high; all `whole` if wanted."""
    size = max(abs(low), abs(high))
    if size < _NOTHING:
        low, high = 0.0, 1.0
    elif high - low <= 1e-6 * size:
        low, high = min(low, 0.0), max(high, 0.0)
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    distance = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    distance = max(distance, 1.0) if whole else distance
    first, last = math.floor(low / distance + 1e-9), math.ceil(high / distance - 1e-9)
    return [index * distance for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that enclose low..high, with their twos and fives where they are few; of at most about 8."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    if last - first > 3:
        step = math.ceil((last - first) / 6)
        powers = range(first, last + step, step)
        return [10.0**power for power in powers]
    marks = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    below = max((mark for mark in marks if mark <= low * (1 + 1e-9)), default=marks[0])
    above = min((mark for mark in marks if mark >= high * (1 - 1e-9)), default=marks[-1])
    return [mark for mark in marks if below <= mark <= above]


def smoothed(points: Sequence[Point], width: int) -> list[Point]:
    """Return the running mean of y over `width` points around each, fewer at the ends."""
    half = width // 2
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    bounds = [(max(0, index - half), min(len(points), index + half + 1)) for index in range(len(points))]
    return [(x, (sums[to] - sums[of]) / (to - of)) for (x, _), (of, to) in zip(points, bounds, strict=True)]


def shown(value: float, percent: bool = False) -> str:
    """Return a number as it stands at an axis: short, 12k for 12,000, 1e-4 for 0.0001."""
    if percent:
        return f"{100 * value:.6g} %"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.4g}M" if size < 1e9 else f"{value:.3g}"
    if size >= 1e4:
        return f"{value / 1e3:.4g}k"
    if size < 1e-3:
        digits, _, power = f"{value:.3e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return round(self.start + (value - low) / (high - low) * (self.stop - self.start), 1)


def _finite(points: Iterable[Point]) -> list[Point]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _line(series: Series, scale_x: _Scale, scale_y: _Scale, percent: bool) -> Line:
    points = series.points
    smooth = series.noisy and len(points) >= _SMOOTH_FROM
    main = smoothed(points, len(points) // 40) if smooth else points
    alone = len(points) == 1
    marked = points if alone or (series.dots and len(points) <= _MOST_DOTS) else []
    return Line(
        name=series.name,
        path="" if alone else _path(main, scale_x, scale_y),
        faint=_path(points, scale_x, scale_y) if smooth else "",
        dots=tuple(Dot(scale_x(x), scale_y(y), f"{series.name}, {x:,.0f}: {_exact(y, percent)}") for x, y in marked),
    )


def _path(points: Sequence[Point], scale_x: _Scale, scale_y: _Scale) -> str:
    return "M" + "L".join(f"{scale_x(x):g} {scale_y(y):g}" for x, y in points)


def _told(series: Series, percent: bool) -> str:
    (first_x, first), (last_x, last) = series.points[0], series.points[-1]
    if len(series.points) == 1:
        return f"{series.name}: {_exact(last, percent)} at {last_x:,.0f}"
    return (
        f"{series.name}: from {_exact(first, percent)} at {first_x:,.0f} to {_exact(last, percent)} at {last_x:,.0f}, "
        f"lowest {_exact(min(y for _, y in series.points), percent)}, "
        f"highest {_exact(max(y for _, y in series.points), percent)}"
    )


def _exact(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.4g}"

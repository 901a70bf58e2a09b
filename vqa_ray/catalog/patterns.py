"""Patterns: polygons over the unit square, painted in a second colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vqa_ray.catalog.geometry import Polygon, Pose, ellipse, moved, rectangle

# Beyond the unit square, so that a rotated pattern still covers it.
_FROM, _TO = -0.25, 1.25


def _striped(rng: np.random.Generator) -> list[Polygon]:
    period = rng.uniform(0.125, 0.16)
    turn = Pose.of(1.0, 1.0, float(rng.choice([0.0, 45.0, 90.0, 135.0])), 0.5, 0.5)
    starts = np.arange(-0.8, 0.8, period) + rng.uniform(0.0, period)
    return [turn.place(rectangle(-0.8, y, 0.8, y + 0.42 * period)) for y in starts]


def _dotted(rng: np.random.Generator) -> list[Polygon]:
    period = rng.uniform(0.125, 0.155)
    dot = ellipse(0.0, 0.0, 0.30 * period, 0.30 * period, points=14)
    shift = rng.uniform(0.0, period, 2)
    dots = []
    for row, y in enumerate(np.arange(-0.1, 1.1, period)):
        dots += [
            moved(dot, x + shift[0] + 0.5 * period * (row % 2), y + shift[1]) for x in np.arange(-0.15, 1.1, period)
        ]
    return dots


def _checked(rng: np.random.Generator) -> list[Polygon]:
    cell = rng.uniform(0.095, 0.12)
    shift = rng.uniform(-cell, 0.0, 2)
    count = int(1.2 / cell) + 2
    corners = [(shift[0] + cell * i, shift[1] + cell * j) for i in range(count) for j in range(count) if (i + j) % 2]
    return [rectangle(x, y, x + cell, y + cell) for x, y in corners]


def _zigzag(rng: np.random.Generator) -> list[Polygon]:
    period, width = rng.uniform(0.16, 0.20), rng.uniform(0.17, 0.21)
    x = np.arange(_FROM, _TO, width / 2) + rng.uniform(0.0, width / 2)
    tooth = np.where(np.arange(len(x)) % 2 == 0, 0.0, 0.75 * period)
    upper = np.stack([x, tooth], axis=1)
    band = np.concatenate([upper, moved(upper[::-1], 0.0, 0.42 * period)])
    return [moved(band, 0.0, y) for y in np.arange(_FROM, _TO, period) + rng.uniform(0.0, period)]


def _plain(rng: np.random.Generator) -> list[Polygon]:
    return []


_DRAWN: dict[str, Callable[[np.random.Generator], list[Polygon]]] = {
    "checked": _checked,
    "dotted": _dotted,
    "plain": _plain,
    "striped": _striped,
    "zigzag": _zigzag,
}
_DARK, _LIGHT, _GREY = (36, 30, 34), (250, 248, 240), (138, 138, 138)
# Grey on black and white: otherwise black on white could not be told from white on black.
_SECOND = {"black": _GREY, "white": _GREY, "orange": _DARK, "yellow": _DARK, "pink": _DARK}


def pattern_polygons(pattern: str, rng: np.random.Generator) -> list[Polygon]:
    """Return the polygons of a pattern over the unit square; empty for `plain`."""
    return _DRAWN[pattern](rng)


def second_colour(colour: str) -> tuple[int, int, int]:
    """Return the colour of the pattern on a product of this colour.

    It resembles no other colour of the catalogue, and leaves no doubt about the colour of the product.
    """
    return _SECOND.get(colour, _LIGHT)

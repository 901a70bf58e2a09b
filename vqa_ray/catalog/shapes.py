"""The silhouettes of the product types, in the unit square."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from vqa_ray.catalog.geometry import Polygon, ellipse, mirrored, polygon, rectangle, rounded


class Role(Enum):
    """How a part of a silhouette is painted."""

    BODY = "the product's colour and pattern"
    TRIM = "a shade of the product's colour"
    NEUTRAL = "grey, whatever the colour"
    PAPER = "off-white, whatever the colour"
    HOLE = "nothing: the background is seen"


@dataclass(frozen=True, slots=True)
class Shape:
    """A silhouette.

    Attributes:
        parts: painted in this order.
        print_x, print_y, print_radius: the round place for a printed motif.
    """

    parts: tuple[tuple[Role, Polygon], ...]
    print_x: float
    print_y: float
    print_radius: float


def _sides(role: Role, part: Polygon) -> tuple[tuple[Role, Polygon], ...]:
    return (role, part), (role, mirrored(part))


def _mug() -> Shape:
    return Shape(
        (
            (Role.BODY, ellipse(0.74, 0.52, 0.25, 0.27)),
            (Role.HOLE, ellipse(0.76, 0.52, 0.15, 0.165)),
            (Role.BODY, rounded(0.03, 0.10, 0.73, 0.95, 0.10)),
            (Role.TRIM, ellipse(0.38, 0.12, 0.35, 0.075)),
        ),
        0.38,
        0.56,
        0.26,
    )


def _t_shirt() -> Shape:
    left = ((0.50, 0.17), (0.42, 0.14), (0.35, 0.06), (0.02, 0.27), (0.13, 0.49), (0.23, 0.42), (0.23, 0.95))
    right = tuple((1 - x, y) for x, y in reversed(left))
    collar = polygon(
        (0.35, 0.06), (0.42, 0.14), (0.50, 0.17), (0.58, 0.14), (0.65, 0.06), (0.60, 0.17), (0.50, 0.22), (0.40, 0.17)
    )
    return Shape(((Role.BODY, polygon(*left, *right)), (Role.TRIM, collar)), 0.5, 0.57, 0.255)


def _trousers() -> Shape:
    legs = polygon((0.22, 0.03), (0.78, 0.03), (0.92, 0.97), (0.61, 0.97), (0.50, 0.56), (0.39, 0.97), (0.08, 0.97))
    belt = polygon((0.22, 0.03), (0.78, 0.03), (0.79, 0.11), (0.21, 0.11))
    return Shape(((Role.BODY, legs), (Role.TRIM, belt)), 0.5, 0.355, 0.24)


def _dress() -> Shape:
    left = ((0.42, 0.17), (0.39, 0.02), (0.31, 0.02), (0.30, 0.22), (0.36, 0.36), (0.03, 0.96))
    right = tuple((1 - x, y) for x, y in reversed(left))
    sash = polygon((0.355, 0.33), (0.645, 0.33), (0.66, 0.40), (0.34, 0.40))
    return Shape(((Role.BODY, polygon(*left, *right)), (Role.TRIM, sash)), 0.5, 0.70, 0.245)


def _shoe() -> Shape:
    upper = polygon(
        (0.06, 0.10), (0.57, 0.10), (0.60, 0.42), (0.80, 0.54), (0.95, 0.65), (0.98, 0.82), (0.05, 0.82), (0.04, 0.5)
    )
    return Shape(
        (
            (Role.BODY, upper),
            (Role.TRIM, rectangle(0.06, 0.08, 0.57, 0.16)),
            (Role.TRIM, polygon((0.80, 0.54), (0.95, 0.65), (0.98, 0.82), (0.78, 0.82))),
            (Role.PAPER, rounded(0.02, 0.81, 0.99, 0.94, 0.04)),
        ),
        0.32,
        0.44,
        0.245,
    )


def _hat() -> Shape:
    return Shape(
        (
            (Role.BODY, ellipse(0.5, 0.80, 0.49, 0.15)),
            (Role.BODY, ellipse(0.5, 0.72, 0.34, 0.66, start=180, end=360)),
            (
                Role.TRIM,
                np.concatenate(
                    [
                        ellipse(0.5, 0.72, 0.34, 0.09, start=0, end=180),
                        ellipse(0.5, 0.65, 0.335, 0.09, start=180, end=0),
                    ]
                ),
            ),
        ),
        0.5,
        0.39,
        0.245,
    )


def _handbag() -> Shape:
    return Shape(
        (
            (Role.TRIM, ellipse(0.5, 0.40, 0.30, 0.37)),
            (Role.HOLE, ellipse(0.5, 0.40, 0.22, 0.29)),
            (Role.BODY, polygon((0.12, 0.36), (0.88, 0.36), (0.98, 0.95), (0.02, 0.95))),
            (Role.TRIM, polygon((0.12, 0.36), (0.88, 0.36), (0.89, 0.42), (0.11, 0.42))),
        ),
        0.5,
        0.68,
        0.245,
    )


def _backpack() -> Shape:
    return Shape(
        (
            (Role.TRIM, ellipse(0.5, 0.10, 0.13, 0.09)),
            (Role.HOLE, ellipse(0.5, 0.10, 0.07, 0.045)),
            *_sides(Role.TRIM, rounded(0.02, 0.50, 0.24, 0.92, 0.06)),
            (Role.BODY, rounded(0.13, 0.11, 0.87, 0.97, 0.22)),
            (Role.TRIM, rounded(0.22, 0.70, 0.78, 0.91, 0.05)),
            (Role.PAPER, rectangle(0.27, 0.745, 0.73, 0.765)),
        ),
        0.5,
        0.42,
        0.25,
    )


def _bottle() -> Shape:
    left = ((0.40, 0.10), (0.40, 0.21), (0.28, 0.29), (0.19, 0.36), (0.16, 0.46), (0.16, 0.92), (0.21, 0.98))
    right = tuple((1 - x, y) for x, y in reversed(left))
    return Shape(
        ((Role.BODY, polygon(*left, *right)), (Role.NEUTRAL, rounded(0.37, 0.02, 0.63, 0.12, 0.02))), 0.5, 0.66, 0.255
    )


def _chair() -> Shape:
    return Shape(
        (
            *_sides(Role.NEUTRAL, rectangle(0.22, 0.45, 0.29, 0.62)),
            *_sides(Role.NEUTRAL, rectangle(0.07, 0.66, 0.15, 0.98)),
            *_sides(Role.NEUTRAL, rectangle(0.25, 0.66, 0.31, 0.88)),
            (Role.BODY, rounded(0.16, 0.02, 0.84, 0.53, 0.10)),
            (Role.BODY, polygon((0.12, 0.58), (0.88, 0.58), (0.97, 0.73), (0.03, 0.73))),
        ),
        0.5,
        0.275,
        0.245,
    )


def _lamp() -> Shape:
    return Shape(
        (
            (Role.NEUTRAL, rectangle(0.46, 0.5, 0.54, 0.92)),
            (Role.NEUTRAL, ellipse(0.5, 0.93, 0.25, 0.055)),
            (Role.BODY, polygon((0.27, 0.03), (0.73, 0.03), (0.97, 0.60), (0.03, 0.60))),
            (Role.TRIM, polygon((0.045, 0.56), (0.955, 0.56), (0.97, 0.60), (0.03, 0.60))),
        ),
        0.5,
        0.325,
        0.245,
    )


def _cushion() -> Shape:
    along = np.linspace(0.0, 1.0, 12, endpoint=False)
    dip = 0.36 * along * (1 - along)
    top = np.stack([0.03 + 0.94 * along, 0.03 + dip], axis=1)
    edges = [top]
    for _ in range(3):
        last = edges[-1]
        edges.append(np.stack([1 - last[:, 1], last[:, 0]], axis=1))
    return Shape(((Role.BODY, np.concatenate(edges)),), 0.5, 0.5, 0.26)


def _plate() -> Shape:
    return Shape(
        (
            (Role.BODY, ellipse(0.5, 0.5, 0.48, 0.48, points=60)),
            (Role.TRIM, ellipse(0.5, 0.5, 0.335, 0.335)),
            (Role.BODY, ellipse(0.5, 0.5, 0.305, 0.305)),
        ),
        0.5,
        0.5,
        0.25,
    )


def _book() -> Shape:
    return Shape(
        (
            (Role.TRIM, polygon((0.10, 0.03), (0.82, 0.03), (0.92, 0.10), (0.92, 0.97), (0.20, 0.97), (0.10, 0.90))),
            (Role.PAPER, polygon((0.13, 0.90), (0.82, 0.90), (0.82, 0.05), (0.90, 0.11), (0.90, 0.95), (0.20, 0.95))),
            (Role.BODY, rectangle(0.10, 0.03, 0.82, 0.90)),
            (Role.TRIM, rectangle(0.10, 0.03, 0.20, 0.90)),
        ),
        0.51,
        0.47,
        0.25,
    )


def _umbrella() -> Shape:
    return Shape(
        (
            (Role.NEUTRAL, rectangle(0.48, 0.01, 0.52, 0.12)),
            (Role.NEUTRAL, rectangle(0.48, 0.5, 0.525, 0.88)),
            (Role.NEUTRAL, ellipse(0.415, 0.87, 0.11, 0.11, start=0, end=180)),
            (Role.HOLE, ellipse(0.415, 0.865, 0.065, 0.07, start=0, end=180)),
            (Role.BODY, ellipse(0.5, 0.60, 0.49, 0.54, start=180, end=360)),
            *_sides(Role.HOLE, ellipse(0.132, 0.605, 0.118, 0.075)),
            *_sides(Role.HOLE, ellipse(0.378, 0.605, 0.118, 0.075)),
            (Role.NEUTRAL, rectangle(0.48, 0.55, 0.525, 0.70)),
        ),
        0.5,
        0.34,
        0.235,
    )


SHAPES: dict[str, Shape] = {
    "backpack": _backpack(),
    "book": _book(),
    "bottle": _bottle(),
    "chair": _chair(),
    "cushion": _cushion(),
    "dress": _dress(),
    "handbag": _handbag(),
    "hat": _hat(),
    "lamp": _lamp(),
    "mug": _mug(),
    "plate": _plate(),
    "shoe": _shoe(),
    "t-shirt": _t_shirt(),
    "trousers": _trousers(),
    "umbrella": _umbrella(),
}

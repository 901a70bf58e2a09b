"""The printed motifs, in a disc of radius 1 around the origin. True is ink, False is the paper showing through."""

from __future__ import annotations

import numpy as np

from vqa_ray.catalog.geometry import Polygon, ellipse, mirrored, polygon, rectangle, rounded, star

Motif = tuple[tuple[bool, Polygon], ...]


def _dog() -> Motif:
    """Draw a whole dog from the side: long snout, hanging ear, four legs, a raised tail."""
    return (
        (True, polygon((-0.60, -0.08), (-0.92, -0.50), (-0.80, -0.62), (-0.40, -0.10))),
        (True, rounded(-0.64, -0.14, 0.42, 0.34, 0.16)),
        (True, rectangle(-0.64, 0.10, -0.46, 0.78)),
        (True, rectangle(-0.36, 0.20, -0.19, 0.78)),
        (True, rectangle(0.04, 0.20, 0.21, 0.78)),
        (True, rectangle(0.26, 0.00, 0.44, 0.78)),
        (True, polygon((0.08, -0.10), (0.22, -0.56), (0.56, -0.56), (0.44, 0.10))),
        (True, ellipse(0.40, -0.50, 0.26, 0.23)),
        (True, rounded(0.38, -0.56, 0.94, -0.26, 0.10)),
        (False, ellipse(0.20, -0.37, 0.16, 0.32)),
        (True, ellipse(0.19, -0.37, 0.105, 0.27)),
        (False, ellipse(0.49, -0.56, 0.06, 0.06, points=10)),
    )


def _cat() -> Motif:
    """Draw a cat's face from the front: pointed ears, slit eyes, whiskers."""
    ear = polygon((-0.62, -0.10), (-0.66, -0.86), (-0.10, -0.44))
    inner_ear = polygon((-0.52, -0.36), (-0.55, -0.64), (-0.32, -0.47))
    eye = ellipse(-0.27, 0.02, 0.13, 0.17, points=16)
    pupil = ellipse(-0.27, 0.02, 0.045, 0.15, points=12)
    whiskers = [
        polygon((-0.20, y), (-0.97, y + tilt - 0.035), (-0.97, y + tilt + 0.035))
        for y, tilt in ((0.36, -0.1), (0.44, 0.12))
    ]
    half: list[tuple[bool, Polygon]] = [(True, ear), (False, inner_ear), (False, eye), (True, pupil)]
    sides = [(ink, side) for ink, part in half for side in (part, mirrored(part, 0.0))]
    return (
        *((True, side) for part in whiskers for side in (part, mirrored(part, 0.0))),
        *sides[:2],
        (True, ellipse(0.0, 0.14, 0.66, 0.60)),
        *sides[2:],
        (False, polygon((-0.10, 0.26), (0.10, 0.26), (0.0, 0.39))),
        (False, polygon((-0.03, 0.36), (0.03, 0.36), (0.03, 0.50), (-0.03, 0.50))),
    )


def _star() -> Motif:
    return ((True, star(0.0, 0.06, 0.94, 0.38, 5)),)


def _heart() -> Motif:
    turn = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(turn) ** 3
    y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return ((True, np.stack([x / 19.5, -y / 19.5 - 0.02], axis=1)),)


def _tree() -> Motif:
    """Draw a fir: three tiers and a trunk."""
    return (
        (True, rectangle(-0.12, 0.50, 0.12, 0.92)),
        (True, polygon((0.0, -0.94), (0.36, -0.42), (-0.36, -0.42))),
        (True, polygon((0.0, -0.66), (0.52, 0.08), (-0.52, 0.08))),
        (True, polygon((0.0, -0.24), (0.68, 0.60), (-0.68, 0.60))),
    )


def _fish() -> Motif:
    return (
        (True, ellipse(0.16, 0.0, 0.70, 0.40)),
        (True, polygon((-0.38, 0.0), (-0.92, -0.44), (-0.76, 0.0), (-0.92, 0.44))),
        (True, polygon((0.0, -0.32), (0.20, -0.66), (0.44, -0.28))),
        (False, ellipse(0.56, -0.10, 0.09, 0.09, points=12)),
        (
            False,
            np.concatenate(
                [
                    ellipse(0.16, 0.0, 0.16, 0.30, start=-90, end=90, points=10),
                    ellipse(0.16, 0.0, 0.09, 0.30, start=90, end=-90, points=10),
                ]
            ),
        ),
    )


def _car() -> Motif:
    cabin = polygon((-0.56, -0.08), (-0.34, -0.50), (0.28, -0.50), (0.56, -0.08))
    window = polygon((-0.38, -0.10), (-0.25, -0.38), (-0.04, -0.38), (-0.04, -0.10))
    other_window = polygon((0.06, -0.10), (0.06, -0.38), (0.22, -0.38), (0.38, -0.10))
    parts: list[tuple[bool, Polygon]] = [
        (True, cabin),
        (False, window),
        (False, other_window),
        (True, rounded(-0.94, -0.10, 0.94, 0.36, 0.14)),
    ]
    for x in (-0.50, 0.50):
        parts += [
            (False, ellipse(x, 0.34, 0.29, 0.29)),
            (True, ellipse(x, 0.36, 0.23, 0.23)),
            (False, ellipse(x, 0.36, 0.09, 0.09, points=12)),
        ]
    return tuple(parts)


def _flower() -> Motif:
    """Six round petals around a light heart, each petal apart from the next."""
    angles = np.arange(6) * (np.pi / 3)
    petals = [(True, ellipse(0.58 * np.cos(a), 0.58 * np.sin(a), 0.29, 0.29, points=20)) for a in angles]
    return (*petals, (False, ellipse(0.0, 0.0, 0.32, 0.32)), (True, ellipse(0.0, 0.0, 0.22, 0.22)))


MOTIF_PARTS: dict[str, Motif] = {
    "car": _car(),
    "cat": _cat(),
    "dog": _dog(),
    "fish": _fish(),
    "flower": _flower(),
    "heart": _heart(),
    "star": _star(),
    "tree": _tree(),
}

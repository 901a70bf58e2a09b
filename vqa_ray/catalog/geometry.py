"""Polygons, of which the whole catalogue is drawn, so that one affine map poses everything.

A polygon is float64 (N, 2), x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, radians, sin

import numpy as np
import numpy.typing as npt

Polygon = npt.NDArray[np.float64]


def polygon(*points: tuple[float, float]) -> Polygon:
    """Make the polygon through `points`."""
    return np.array(points, dtype=np.float64)


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    """Make an upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, *, start: float = 0.0, end: float = 360.0, points: int = 40
) -> Polygon:
    """Make an ellipse around (x, y), or its part from `start` to `end` degrees, clockwise on screen from 3 o'clock."""
    angles = np.linspace(radians(start), radians(end), points, endpoint=end - start < 360)
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


def rounded(left: float, top: float, right: float, bottom: float, radius: float) -> Polygon:
    """Make an upright rectangle with round corners."""
    corners = (
        (right - radius, bottom - radius, 0.0),
        (left + radius, bottom - radius, 90.0),
        (left + radius, top + radius, 180.0),
        (right - radius, top + radius, 270.0),
    )
    return np.concatenate(
        [ellipse(x, y, radius, radius, start=start, end=start + 90.0, points=8) for x, y, start in corners]
    )


def mirrored(shape: Polygon, axis: float = 0.5) -> Polygon:
    """`shape` reflected at the vertical line x = `axis`."""
    reflected: Polygon = shape * np.array([-1.0, 1.0]) + np.array([2.0 * axis, 0.0])
    return reflected


def moved(shape: Polygon, x: float, y: float) -> Polygon:
    """`shape` shifted by (x, y)."""
    shifted: Polygon = shape + np.array([x, y])
    return shifted


def star(x: float, y: float, outer: float, inner: float, tips: int) -> Polygon:
    """Make a star with its first tip up."""
    angles = np.arange(2 * tips) * (pi / tips) - pi / 2
    radii = np.where(np.arange(2 * tips) % 2 == 0, outer, inner)
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)


@dataclass(frozen=True, slots=True)
class Pose:
    """An affine map of the plane: (x, y) → linear @ (x, y) + offset.

    Attributes:
        linear: float64 (2, 2), already transposed for row vectors.
        offset: float64 (2,).
    """

    linear: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    @classmethod
    def of(cls, scale_x: float, scale_y: float, degrees: float, x: float, y: float) -> Pose:
        """Scale (negative: mirror), turn clockwise on screen by `degrees`, then move the origin to (x, y)."""
        turn = radians(degrees)
        linear = np.array([[scale_x * cos(turn), scale_x * sin(turn)], [-scale_y * sin(turn), scale_y * cos(turn)]])
        return cls(linear, np.array([x, y]))

    def after(self, first: Pose) -> Pose:
        """Compose two maps: `first`, then this one."""
        return Pose(first.linear @ self.linear, first.offset @ self.linear + self.offset)

    def place(self, shape: Polygon) -> Polygon:
        """`shape` mapped."""
        return shape @ self.linear + self.offset

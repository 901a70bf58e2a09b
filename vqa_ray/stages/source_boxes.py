"""Convert boxes from a model's fractions of the image to pixels of the source image."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from vqa_ray.types import Box


class SourceSizes:
    """The sizes of the source images of a DECODED table."""

    def __init__(self, table: pa.Table) -> None:
        self._heights: list[int] = table["source_height"].to_pylist()
        self._widths: list[int] = table["source_width"].to_pylist()

    def pixels(self, row: int, boxes: Iterable[Box]) -> list[dict[str, str | float]]:
        """Return `schema.BOX` values of a decoded row; boxes are cut at the edges of the image."""
        height, width = self._heights[row], self._widths[row]
        return [
            {
                "label": box.label,
                "x0": _within(box.x0) * width,
                "y0": _within(box.y0) * height,
                "x1": _within(box.x1) * width,
                "y1": _within(box.y1) * height,
            }
            for box in boxes
        ]


def _within(part: float) -> float:
    return min(max(part, 0.0), 1.0)

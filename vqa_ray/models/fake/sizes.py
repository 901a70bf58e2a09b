"""Sizes of the models without weights: of their images and of their embeddings. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.types import EmbeddingShape

SIDE = 64
STEP = 8
MAX_ASPECT_RATIO = 20.0
DIMENSION = 14


@dataclass(frozen=True, slots=True)
class FakeTransform:
    """Fits an image into 64 × 64 pixels, sides in multiples of 8."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], label: str) -> Self:
        """Return the transform; there is no config to read."""
        del config, label
        return cls()

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels.

        Raises:
            RowError: `image_aspect_ratio` when one side is more than 20 times the other.
        """
        longer, shorter = max(height, width), min(height, width)
        if longer > MAX_ASPECT_RATIO * shorter:
            raise RowError(
                ErrorCode.IMAGE_ASPECT_RATIO,
                f"image of {width}x{height} pixels: one side is more than {MAX_ASPECT_RATIO:g} times the other",
            )
        scale = SIDE / longer
        return _rounded(height * scale), _rounded(width * scale)


def single_vector(config: Mapping[str, Any], label: str) -> EmbeddingShape:
    """Return the shape of the embeddings of `fake:`."""
    del config, label
    return EmbeddingShape(1, DIMENSION)


def vector_per_quadrant(config: Mapping[str, Any], label: str) -> EmbeddingShape:
    """Return the shape of the embeddings of `fake:quadrants`."""
    del config, label
    return EmbeddingShape(4, DIMENSION)


def _rounded(side: float) -> int:
    return max(STEP, round(side / STEP) * STEP)

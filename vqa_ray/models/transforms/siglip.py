"""The size that SigLIP wants its images in: one square, as its own processor resizes to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_ray.models.transforms.processor_config import check_whole, colours, interpolation, sides
from vqa_ray.models.transforms.square import SquareTransform

_SIDE = 224
_HALF = (0.5, 0.5, 0.5)


def transform_from_config(config: Mapping[str, Any], origin: str) -> SquareTransform:
    """Read a `preprocessor_config.json` of a `SiglipImageProcessor`; SigLIP 2 resizes bilinearly.

    Raises:
        ModelLoadError: it asks for something other than a resize to a square.
    """
    check_whole(config, origin)
    return SquareTransform(
        sides(config.get("size", _SIDE), "size", origin),
        tuple(map(float, colours(config, "image_mean", _HALF, origin))),
        tuple(map(float, colours(config, "image_std", _HALF, origin))),
        interpolation(config, origin),
    )

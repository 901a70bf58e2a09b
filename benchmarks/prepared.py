"""Our side of a comparison: images brought to the model's size, and the engine that answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from vqa_ray.images.resize import resample_of, resize
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.vilt.model import Vilt
from vqa_ray.types import Image, ImageTransform


def arrays(images: Sequence[PillowImage.Image]) -> list[Image]:
    """Return decoded images as uint8 (H, W, 3)."""
    return [np.asarray(image) for image in images]


def sized(images: Sequence[Image], transform: ImageTransform) -> list[Image]:
    """Each resized to the size that the model wants."""
    return [resize(image, *transform.target_size(*image.shape[:2]), resample_of(transform)) for image in images]


def asked(questions: Sequence[str]) -> list[list[str]]:
    """One question per image, in the shape that the engine takes."""
    return [[question] for question in questions]


def engine(path: str | Path, dtype: str | None = None) -> Vilt:
    """Return the engine on the best device; `dtype` None takes the best that it computes in."""
    return Vilt.from_checkpoint(Checkpoint.open(str(path)), dtype=dtype)


def dtype_of(vilt: Vilt) -> str:
    """`float32` or `bfloat16`."""
    return str(next(vilt.network.parameters()).dtype).removeprefix("torch.")

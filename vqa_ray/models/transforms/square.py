"""The image size of BLIP, BLIP-2, InstructBLIP and SigLIP: one square, whatever the shape of the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.images.resize import Resample
from vqa_ray.models.transforms.processor_config import (
    CLIP_MEAN,
    CLIP_STD,
    check_whole,
    colours,
    interpolation,
    sides,
)

_BICUBIC = 3
_SIZE = {"height": 384, "width": 384}
_SIGLIP_SIDE = 224
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class SquareTransform:
    """Both sides to `side` pixels; the aspect ratio is not kept, as in the training of these models."""

    side: int
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resample: Resample = "bicubic"

    @classmethod
    def from_config(cls, config: Mapping[str, Any], label: str) -> SquareTransform:
        """Read the settings of a `BlipImageProcessor`, `size` a number (old) or {'height', 'width'}.

        Raises:
            ModelLoadError: it asks for something other than a bicubic resize to a square.
        """
        given = config.get("size", _SIZE)
        sides = {given.get("height"), given.get("width")} if isinstance(given, Mapping) else {given}
        side = sides.pop()
        if sides or not isinstance(side, int) or side < 1:
            raise ModelLoadError(f"{label}: size is {given!r}, wanted a number or {{'height': N, 'width': N}}")
        if config.get("resample", _BICUBIC) != _BICUBIC:
            raise ModelLoadError(f"{label}: resample is {config['resample']!r}, only 3 (bicubic) is supported")
        for key in ("do_resize", "do_rescale", "do_normalize"):
            if not config.get(key, True):
                raise ModelLoadError(f"{label}: {key} is false; its images are always resized and normalised")
        mean, std = config.get("image_mean", CLIP_MEAN), config.get("image_std", CLIP_STD)
        return cls(side, tuple(map(float, mean)), tuple(map(float, std)))

    @classmethod
    def from_uncropped_config(cls, config: Mapping[str, Any], label: str) -> SquareTransform:
        """Read the settings of the `CLIPImageProcessor` of Florence-2, which resizes to a square and crops nothing.

        Raises:
            ModelLoadError: see `from_config`; also where its crop is smaller than its image, or no size is named.
        """
        if "size" not in config:
            raise ModelLoadError(f"{label}: the image processor names no size; wanted {{'height': N, 'width': N}}")
        if config.get("do_center_crop") and config.get("crop_size") != config["size"]:
            raise ModelLoadError(f"{label}: the image processor crops images; only resizing to a square is supported")
        return cls.from_config(config, label)

    @classmethod
    def from_siglip_config(cls, config: Mapping[str, Any], label: str) -> SquareTransform:
        """Read the settings of a `SiglipImageProcessor`; SigLIP 2 resizes bilinearly.

        Raises:
            ModelLoadError: they ask for something other than a resize to a square.
        """
        check_whole(config, label)
        return cls(
            sides(config.get("size", _SIGLIP_SIDE), "size", label),
            tuple(map(float, colours(config, "image_mean", _HALF, label))),
            tuple(map(float, colours(config, "image_std", _HALF, label))),
            interpolation(config, label),
        )

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels for a source of any size."""
        return self.side, self.side

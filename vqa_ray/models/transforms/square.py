"""The size that BLIP, BLIP-2, InstructBLIP and SigLIP want images in: one square, whatever the source's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.images.resize import Resample

_BICUBIC = 3
# Of CLIP's training images (Radford et al. 2021), which the processors of all three families share.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_SIZE = {"height": 384, "width": 384}


@dataclass(frozen=True, slots=True)
class SquareTransform:
    """Both sides to `side` pixels; the aspect ratio is not kept, as in the training of these models."""

    side: int
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD
    resample: Resample = "bicubic"

    @classmethod
    def from_config(cls, config: Mapping[str, Any], origin: str) -> SquareTransform:
        """Read the settings of a `BlipImageProcessor`, `size` a number (old) or {'height', 'width'}.

        Raises:
            ModelLoadError: it asks for something other than a bicubic resize to a square.
        """
        given = config.get("size", _SIZE)
        sides = {given.get("height"), given.get("width")} if isinstance(given, Mapping) else {given}
        side = sides.pop()
        if sides or not isinstance(side, int) or side < 1:
            raise ModelLoadError(f"{origin}: size is {given!r}, wanted a number or {{'height': N, 'width': N}}")
        if config.get("resample", _BICUBIC) != _BICUBIC:
            raise ModelLoadError(f"{origin}: resample is {config['resample']!r}, only 3 (bicubic) is supported")
        for key in ("do_resize", "do_rescale", "do_normalize"):
            if not config.get(key, True):
                raise ModelLoadError(f"{origin}: {key} is false; its images are always resized and normalised")
        return cls(
            side, tuple(map(float, config.get("image_mean", _MEAN))), tuple(map(float, config.get("image_std", _STD)))
        )

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels for a source of any size."""
        return self.side, self.side


def transform_from_config(config: Mapping[str, Any], origin: str) -> SquareTransform:
    """See `SquareTransform.from_config`."""
    return SquareTransform.from_config(config, origin)

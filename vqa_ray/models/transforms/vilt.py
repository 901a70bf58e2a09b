"""The size a ViLT checkpoint wants its images in: light enough for every CPU task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqa_ray.errors import ErrorCode, ModelLoadError, RowError

# ViLT bounds the longer edge by COCO's typical shape (transformers `image_processing_vilt.py`, Kim et al. 2021).
_LONGER_OVER_SHORTER = 1333 / 800
_BICUBIC = 3
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class ViltTransform:
    """Shorter edge to `shortest_edge` pixels, longer edge bounded, both floored to multiples of `size_divisor`.

    Equals transformers' `ViltImageProcessor` in the size it chooses.
    """

    shortest_edge: int = 384
    size_divisor: int = 32
    mean: tuple[float, ...] = _HALF
    std: tuple[float, ...] = _HALF

    @classmethod
    def from_config(cls, config: Mapping[str, Any], label: str) -> ViltTransform:
        """Read a `preprocessor_config.json`, of the old layout (`size` a number) or the new.

        Raises:
            ModelLoadError: it asks for something other than a bicubic resize by the shortest edge.
        """
        size = config.get("size", 384)
        shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size
        if not isinstance(shortest, int) or shortest < 1:
            raise ModelLoadError(f"{label}: size is {size!r}, wanted a number or {{'shortest_edge': number}}")
        if config.get("resample", _BICUBIC) != _BICUBIC:
            raise ModelLoadError(f"{label}: resample is {config['resample']!r}, only 3 (bicubic) is supported")
        for key in ("do_resize", "do_rescale", "do_normalize"):
            if not config.get(key, True):
                raise ModelLoadError(f"{label}: {key} is false; ViLT images are always resized and normalised")
        return cls(
            shortest,
            int(config.get("size_divisor", 32)),
            tuple(map(float, config.get("image_mean", _HALF))),
            tuple(map(float, config.get("image_std", _HALF))),
        )

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels for a source of this size.

        Raises:
            RowError: `image_aspect_ratio` when the shorter edge would vanish (ratios of about 20 and more).
        """
        longest = int(_LONGER_OVER_SHORTER * self.shortest_edge)
        scale = self.shortest_edge / min(height, width)
        tall, wide = (
            (float(self.shortest_edge), scale * width)
            if height < width
            else (scale * height, float(self.shortest_edge))
        )
        if max(tall, wide) > longest:
            scale = longest / max(tall, wide)
            tall, wide = scale * tall, scale * wide
        new_height = int(tall + 0.5) // self.size_divisor * self.size_divisor
        new_width = int(wide + 0.5) // self.size_divisor * self.size_divisor
        if new_height == 0 or new_width == 0:
            raise RowError(
                ErrorCode.IMAGE_ASPECT_RATIO,
                f"{width}x{height} pixels is too elongated: its shorter edge would fall below "
                f"{self.size_divisor} pixels at the model's resolution",
            )
        return new_height, new_width

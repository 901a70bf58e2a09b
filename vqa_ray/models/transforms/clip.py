"""The size that CLIP wants its images in, and what it then cuts out of them: light enough for every CPU task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqa_ray.errors import ErrorCode, ModelLoadError, RowError
from vqa_ray.images.resize import Resample
from vqa_ray.models.transforms.processor_config import CLIP_MEAN, CLIP_STD, check_whole, colours, interpolation, sides

MAX_ASPECT_RATIO = 20.0
_SIDE = 224


@dataclass(frozen=True, slots=True)
class ClipTransform:
    """The shorter edge to `shortest_edge` pixels; the encoder sees the middle `crop` × `crop` pixels of that.

    Equals transformers' `CLIPImageProcessor` in the size it chooses. The crop is the engine's: what is decoded still
    shows the whole image.

    Attributes:
        shortest_edge: pixels; None where both sides become `crop`, the aspect ratio not kept.
        crop: pixels of both sides.
        mean, std: of the normalisation, per channel, for pixels scaled to 0-1.
        resample: how pixels are interpolated.
    """

    shortest_edge: int | None = _SIDE
    crop: int = _SIDE
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resample: Resample = "bicubic"

    @classmethod
    def from_config(cls, config: Mapping[str, Any], label: str) -> ClipTransform:
        """Read a `preprocessor_config.json`, of the old layout (`size` and `crop_size` numbers) or the new.

        Raises:
            ModelLoadError: it asks for something that would not give images of one size.
        """
        check_whole(config, label)
        size = config.get("size", {"shortest_edge": _SIDE})
        shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size
        crops = config.get("do_center_crop", True)
        wanted = sides(config.get("crop_size", _SIDE), "crop_size", label) if crops else None
        given = (
            tuple(map(float, colours(config, "image_mean", CLIP_MEAN, label))),
            tuple(map(float, colours(config, "image_std", CLIP_STD, label))),
            interpolation(config, label),
        )
        if isinstance(shortest, int) and shortest > 0:
            if wanted is None:
                raise ModelLoadError(
                    f"{label}: do_center_crop is false and size is {size!r}: images would keep their shapes; "
                    "wanted a crop, or a size of {'height': N, 'width': N}"
                )
            if wanted > shortest:
                raise ModelLoadError(f"{label}: crop_size {wanted} is larger than size {shortest}")
            return cls(shortest, wanted, *given)
        side = sides(size, "size", label)
        if wanted is not None and wanted != side:
            raise ModelLoadError(f"{label}: size is {side} and crop_size {wanted}; of a square they must be equal")
        return cls(None, side, *given)

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels for a source of this size.

        Raises:
            RowError: `image_aspect_ratio` when one side is more than 20 times the other: next to nothing of it would be
                seen.
        """
        if self.shortest_edge is None:
            return self.crop, self.crop
        longer, shorter = max(height, width), min(height, width)
        if longer > MAX_ASPECT_RATIO * shorter:
            raise RowError(
                ErrorCode.IMAGE_ASPECT_RATIO,
                f"image of {width}x{height} pixels: one side is more than {MAX_ASPECT_RATIO:g} times the other",
            )
        long = int(self.shortest_edge * longer / shorter)
        return (self.shortest_edge, long) if height <= width else (long, self.shortest_edge)

"""A decoded image at the model's size that still knows the size it came in."""

from __future__ import annotations

from dataclasses import dataclass

from vqa_ray.images.decode import ImageLimits, decode_resized
from vqa_ray.images.resize import resample_of
from vqa_ray.types import Image, ImageTransform


@dataclass(frozen=True, slots=True)
class SizedImage:
    """Pixels, and what they were made from.

    Attributes:
        pixels: uint8 (H, W, 3), of the size that the model wants.
        source_height, source_width: of the image as it was brought, turned upright; pixels.
    """

    pixels: Image
    source_height: int
    source_width: int


class _SizeRecorder:
    """A transform that notes the last size it was asked about: that of the whole upright image."""

    def __init__(self, transform: ImageTransform) -> None:
        self._transform = transform
        self.source = (0, 0)

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        self.source = (height, width)
        return self._transform.target_size(height, width)


def decode_sized(data: bytes, limits: ImageLimits, transform: ImageTransform, *, fast: bool = False) -> SizedImage:
    """As `vqa_ray.images.decode.decode_for`, with the size of the source.

    Raises:
        RowError: as there.
    """
    noted = _SizeRecorder(transform)
    pixels = decode_resized(data, limits, noted.target_size, fast=fast, resample=resample_of(transform))
    return SizedImage(pixels, *noted.source)

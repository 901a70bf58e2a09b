"""A decoded image at the model's size, with the size of its source."""

from __future__ import annotations

from dataclasses import dataclass

from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.images.resize import resample_of
from vqa_ray.types import Image, ImageTransform


@dataclass(frozen=True, slots=True)
class SizedImage:
    """Pixels, and the size of their source.

    Attributes:
        pixels: uint8 (H, W, 3), at the model's size.
        source_height, source_width: of the upright source image, in pixels.
    """

    pixels: Image
    source_height: int
    source_width: int


class _SizeRecorder:
    """A transform that records the size of the last image: that of the whole upright image."""

    def __init__(self, transform: ImageTransform) -> None:
        self._transform = transform
        self.source = (0, 0)

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        self.source = (height, width)
        return self._transform.target_size(height, width)


def decode_sized(data: bytes, limits: ImageLimits, transform: ImageTransform, *, fast: bool = False) -> SizedImage:
    """Decode an image as `vqa_ray.images.decoder.decode_for`, with the size of the source.

    Raises:
        RowError: as there.
    """
    recorder = _SizeRecorder(transform)
    pixels = decode_resized(data, limits, recorder.target_size, fast=fast, resample=resample_of(transform))
    return SizedImage(pixels, *recorder.source)

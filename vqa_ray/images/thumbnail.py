"""Small JPEG copies of images, for pages that show many."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from PIL import Image as PillowImage

from vqa_ray.images.decoder import ImageLimits, decode_small
from vqa_ray.images.resize import resize
from vqa_ray.types import Image

LONGEST_SIDE = 160
PREVIEW_SIDE = 320
_JPEG_QUALITY = 85


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) in pixels: the longer side at most `LONGEST_SIDE`, same aspect ratio, never enlarged."""
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def thumbnail(pixels: Image, height: int, width: int) -> bytes:
    """Make a JPEG file of `height` × `width` pixels.

    Args:
        pixels: uint8 (H, W, 3), the whole image, of any aspect ratio: a model's own may differ from the source's.
        height: see `thumbnail_size`.
        width: see `thumbnail_size`.
    """
    return _jpeg(PillowImage.fromarray(resize(pixels, height, width)))


@dataclass(frozen=True, slots=True)
class Preview:
    """A small JPEG of an image.

    Attributes:
        jpeg: the file.
        size: (height, width) in pixels of the image itself, turned upright.
    """

    jpeg: bytes = field(repr=False)
    size: tuple[int, int]


def preview(data: bytes, longest_side: int = PREVIEW_SIDE, limits: ImageLimits | None = None) -> Preview:
    """Make a preview of an image file; without torch, which pages do not need.

    Args:
        data: the encoded file.
        longest_side: pixels of the preview's longer side, at most; nothing is enlarged.
        limits: of the image.

    Raises:
        RowError: as `vqa_ray.images.decoder.decode`.
    """
    pixels, size = decode_small(data, limits or ImageLimits(), (longest_side, longest_side))
    small = PillowImage.fromarray(pixels)
    small.thumbnail((longest_side, longest_side))
    return Preview(_jpeg(small), size)


def _jpeg(image: PillowImage.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()

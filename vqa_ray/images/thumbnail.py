"""Small JPEG copies of images, for pages that show many."""

from __future__ import annotations

import io

from PIL import Image as PillowImage

from vqa_ray.images.resize import resize
from vqa_ray.types import Image

LONGEST_SIDE = 160
_JPEG_QUALITY = 85


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) in pixels: the longer side at most `LONGEST_SIDE`, nothing enlarged, the aspect ratio kept."""
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def thumbnail(pixels: Image, height: int, width: int) -> bytes:
    """A JPEG file of `height` × `width` pixels.

    Args:
        pixels: uint8 (H, W, 3), the whole image; of any aspect ratio, which the thumbnail's replaces.
        height, width: see `thumbnail_size`.
    """
    buffer = io.BytesIO()
    PillowImage.fromarray(resize(pixels, height, width)).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()

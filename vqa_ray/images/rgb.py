"""Pillow images → upright RGB pixels on white.

Colour profiles are not applied (the models were trained without them), and 16-bit RGB keeps its upper 8 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.types import Image

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_SCALED_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def upright_rgb(image: PillowImage.Image) -> Image:
    """Return the pixels of a Pillow image as `decode` gives those of a file: uint8 (H, W, 3), upright, on white.

    Raises:
        RowError: `image_undecodable` when its file turns out to be damaged.
    """
    try:
        return turn_upright(np.asarray(to_rgb(image)), orientation_of(image))
    except Exception as error:
        # A lazily opened file is parsed only now, and Pillow's parsers raise nearly every exception there is.
        raise RowError(ErrorCode.IMAGE_UNDECODABLE, f"PIL image: {error}") from error


def orientation_of(image: PillowImage.Image) -> int:
    """Return the EXIF orientation (TIFF 6.0, tag 274) of an image, 1 to 8; 1 where it has none or a broken one."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except RowError:
        raise
    except Exception:  # noqa: BLE001  Broken metadata must not cost the image: it then keeps the orientation of its pixels.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turn_upright(pixels: Image, orientation: int) -> Image:
    """Apply an EXIF orientation (TIFF 6.0, tag 274) to uint8 (H, W, 3)."""
    turned = pixels.transpose(1, 0, 2) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def to_rgb(image: PillowImage.Image) -> PillowImage.Image:
    """Convert any Pillow mode to RGB on white."""
    if image.mode in _SCALED_MODES:
        return _from_deep_gray(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = PillowImage.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_deep_gray(image: PillowImage.Image) -> PillowImage.Image:
    values = np.asarray(image)
    full_scale: float | None = None
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
        full_scale = float(2 ** min(int(bits[0]), 16) - 1)
    gray = _gray8(values, full_scale)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray = np.where(values == transparent, np.uint8(255), gray)
    return PillowImage.fromarray(gray).convert("RGB")


def _gray8(values: npt.NDArray[Any], full_scale: float | None) -> npt.NDArray[np.uint8]:
    """Convert gray values of any range to uint8 (H, W).

    Formats of 32-bit integers and floats do not define white. The full scale is then the smallest of 1 (floats only),
    255 and 65535 that holds all values; values below zero or above 65535 are stretched from their minimum to their
    maximum. Values that are not finite become black.
    """
    floats = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(floats.min()), float(floats.max())
    if full_scale is None:
        scales = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
        full_scale = next((scale for scale in scales if low >= 0.0 and high <= scale), None)
    if full_scale is not None:
        low, high = 0.0, full_scale
    span = high - low or 1.0
    scaled = np.clip((floats - low) * np.float32(255.0 / span) + np.float32(0.5), 0, 255)
    gray: npt.NDArray[np.uint8] = scaled.astype(np.uint8)
    return gray

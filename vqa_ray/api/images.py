"""Images as users hold them (paths, URIs, bytes, PIL images, arrays) → encoded files or references."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.rgb import upright_rgb

ImageLike: TypeAlias = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8] | PillowImage.Image
"""An image: a path or URI, the bytes of an image file, a uint8 array (H, W, 3), (H, W, 4) or (H, W), or a PIL image."""

_CHANNELS = (1, 3, 4)


def is_one_image(images: ImageLike | Iterable[ImageLike]) -> bool:
    """Tell whether `images` is a single image; an array of four dimensions is several."""
    if isinstance(images, np.ndarray):
        return images.ndim < 4 and images.dtype != object
    return isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | PillowImage.Image)


def image_cell(image: object) -> object:
    """Return an image as a cell that readers understand: encoded bytes, a reference, or the value itself.

    Pixels become an uncompressed image file, which costs one copy and loses nothing.

    Raises:
        RowError: `image_unsupported` for an array that is no image, `image_undecodable` for a damaged PIL image.
    """
    if isinstance(image, str | bytes | Mapping) or image is None:
        return image
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if isinstance(image, os.PathLike):
        return os.fspath(image)
    if isinstance(image, PillowImage.Image):
        return _as_file(upright_rgb(image))
    if isinstance(image, np.ndarray):
        return _as_file(_pixels(image))
    return image


def _pixels(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if array.dtype != np.uint8 or not is_image or not array.size:
        raise RowError(
            ErrorCode.IMAGE_UNSUPPORTED,
            f"an array of {array.dtype} {array.shape}; wanted is uint8 (height, width, 3), (…, 4), (…, 1) or "
            "(height, width)",
        )
    if array.ndim == 3 and array.shape[2] == 3:
        return array  # type: ignore[return-value]  # Its type is checked above.
    return upright_rgb(
        PillowImage.fromarray(np.ascontiguousarray(array.squeeze(2) if array.shape[2:] == (1,) else array))
    )


def _as_file(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Write uint8 (H, W, 3) as a PPM file."""
    height, width, _ = pixels.shape
    return b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes()

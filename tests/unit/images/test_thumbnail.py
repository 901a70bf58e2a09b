"""Thumbnails: their size, and that they show the image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from vqa_ray.errors import RowError
from vqa_ray.images.thumbnail import LONGEST_SIDE, preview, thumbnail, thumbnail_size

SIDES = st.integers(1, 20_000)


@given(SIDES, SIDES)
def test_a_thumbnail_is_never_larger_and_keeps_the_aspect_ratio(height: int, width: int) -> None:
    tall, wide = thumbnail_size(height, width)
    assert 1 <= tall <= min(height, LONGEST_SIDE)
    assert 1 <= wide <= min(width, LONGEST_SIDE)
    if max(height, width) > LONGEST_SIDE:
        assert max(tall, wide) == LONGEST_SIDE
    else:
        assert (tall, wide) == (height, width)
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    for side, source in ((tall, height), (wide, width)):
        assert side == 1 or abs(side - source * scale) <= 0.5


@pytest.mark.parametrize("shape", [(224, 224, 3), (100, 300, 3)])
def test_the_aspect_ratio_of_the_source_is_restored(shape: tuple[int, int, int]) -> None:
    pixels = np.zeros(shape, np.uint8)
    pixels[:, : shape[1] // 2] = (250, 10, 10)
    read = PillowImage.open(io.BytesIO(thumbnail(pixels, 80, 160)))
    assert (read.format, read.mode, read.size) == ("JPEG", "RGB", (160, 80))
    assert read.getpixel((20, 40))[0] > 200
    assert read.getpixel((140, 40))[0] < 50


def test_previews_are_small_jpegs_of_anything_readable() -> None:
    data = io.BytesIO()
    PillowImage.new("RGBA", (1000, 500), (255, 0, 0, 0)).save(data, "PNG")
    made = preview(data.getvalue(), 100)
    assert made.size == (500, 1000)
    with PillowImage.open(io.BytesIO(made.jpeg)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (100, 50))
        assert picture.getpixel((50, 25)) == (255, 255, 255)
    with pytest.raises(RowError, match="not an image"):
        preview(b"no image")


def test_a_preview_is_upright_and_knows_the_size_of_the_image() -> None:
    exif, data = PillowImage.Exif(), io.BytesIO()
    exif[274] = 6
    PillowImage.new("RGB", (4000, 2000)).save(data, "JPEG", exif=exif)
    made = preview(data.getvalue(), 320)
    assert made.size == (4000, 2000)
    assert PillowImage.open(io.BytesIO(made.jpeg)).size == (160, 320)

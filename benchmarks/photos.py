"""The images to measure on: photos where there are some, rendered products otherwise."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from benchmarks.checkpoints import QUESTIONS
from vqa_ray.catalog.product import sample_product
from vqa_ray.catalog.render import encode, render

# Width and height of photos of the usual shapes: 4:3, 3:4, 3:2, 16:9 and 1:1.
MIXED_SIZES = ((640, 480), (480, 640), (640, 427), (640, 360), (480, 480))
_SETS = ("clothing", "grocery")
_SEED = 11
_JPEG_QUALITY = 90
_GRAIN = 6.0


def source() -> str:
    """Return a sentence on where the images come from."""
    if _files():
        return f"Images: photos of {' and '.join(_SETS)} (the directory VQA_RAY_TEST_DATA)."
    return "Images: rendered products (VQA_RAY_TEST_DATA names no directory of photos)."


def has_photos() -> bool:
    """Whether there are photos to measure on."""
    return bool(_files())


def encoded(count: int) -> list[bytes]:
    """Image files as they are, spread evenly over all that there are; beyond their number they come again."""
    files = _files()
    if not files:
        return [rendered(index) for index in range(count)]
    step = max(1, len(files) // count)
    spread = files[::step]
    return [spread[index % len(spread)].read_bytes() for index in range(count)]


def rendered(index: int, seed: int = _SEED) -> bytes:
    """One product of a catalogue, as an image file."""
    product = sample_product(seed, index)
    return encode(product, render(product))


def decoded(count: int, sizes: Sequence[tuple[int, int]] = MIXED_SIZES) -> list[Image.Image]:
    """RGB images that take turns in `sizes` (width, height), scaled and cropped to fill them, in an order at random."""
    files = encoded(count)
    images = [cover(data, *sizes[index % len(sizes)]) for index, data in enumerate(files)]
    return [images[index] for index in np.random.default_rng(_SEED).permutation(count)]


def cover(data: bytes, width: int, height: int) -> Image.Image:
    """Return an image scaled and cropped so that it fills width × height."""
    with Image.open(io.BytesIO(data)) as image:
        return ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (width, height), Image.Resampling.LANCZOS)


def jpegs(count: int, width: int, height: int) -> list[bytes]:
    """JPEG files of one size, as costly to decode as those of a camera (2 to 3 bits per pixel).

    Scaling up leaves an image without detail, so grain is added to its brightness.
    """
    rng = np.random.default_rng(_SEED)
    files = []
    for data in encoded(count):
        pixels = np.asarray(cover(data, width, height)) + rng.normal(0, _GRAIN, (height, width, 1))
        files.append(_jpeg(Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))))
    return files


def questions(count: int) -> list[str]:
    """As many questions, taking turns."""
    return [QUESTIONS[index % len(QUESTIONS)] for index in range(count)]


def write_parquet(directory: Path, files: Sequence[bytes], rows_per_shard: int, *, ask: bool = True) -> Path:
    """Parquet shards with the columns `image`, `image_id` and, with `ask`, `question`."""
    directory.mkdir(parents=True)
    for start in range(0, len(files), rows_per_shard):
        part = files[start : start + rows_per_shard]
        ids = [f"image-{start + index:06d}" for index in range(len(part))]
        columns = {"image": pa.array(part, pa.binary()), "image_id": pa.array(ids)}
        if ask:
            columns["question"] = pa.array([questions(start + len(part))[start + index] for index in range(len(part))])
        pq.write_table(pa.table(columns), directory / f"images-{start:06d}.parquet", compression="none")
    return directory


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _files() -> list[Path]:
    root = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data"))
    found = [path for name in _SETS for path in sorted((root / name).rglob("*")) if path.suffix.lower() in _SUFFIXES]
    return [path for path in found if path.is_file()]


_SUFFIXES = (".jpg", ".jpeg", ".png")

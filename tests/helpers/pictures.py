"""Image files for tests, real and lying."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

NASTY_IMAGES = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data")) / "nasty_images"


def photo(width: int, height: int, seed: int = 0) -> PillowImage.Image:
    """Smooth shapes and fine noise, as in a photo."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8)
    smooth = np.asarray(PillowImage.fromarray(coarse).resize((width, height), PillowImage.Resampling.BICUBIC), float)
    return PillowImage.fromarray(np.clip(smooth + generator.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8))


def encoded(image: PillowImage.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def gif_claiming(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"

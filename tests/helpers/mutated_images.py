"""Mutated image files by number, and a process that decodes many: what `tests/jobs/test_soak_fuzz.py` counts.

`python -m tests.helpers.mutated_images FIRST COUNT PROGRESS` writes the number in hand to the file PROGRESS, so that
whoever started it knows which file ended it, and prints its counts as JSON.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tests.helpers.pictures import NASTY_IMAGES, encoded, gif_claiming, photo, png_claiming
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits, decode, decode_small

# A decoder that takes longer hangs; its process ends with a traceback and status 1.
HANG_S = 60
_LARGEST_SEED = 32 * 2**10
_LIMITS = ImageLimits(max_image_pixels=4_000_000, max_image_side=10_000, max_image_frames=100)
_KINDS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@cache
def seeds() -> tuple[bytes, ...]:
    """Small files of every format, those of the test data too where they are."""
    made = [encoded(photo(48, 40, number), kind) for number, kind in enumerate(_KINDS)]
    made += [encoded(photo(40, 48).convert(mode), "TIFF", compression="tiff_lzw") for mode in ("1", "L", "CMYK")]
    made += [encoded(photo(40, 48).convert(mode), "PNG") for mode in ("1", "P", "LA", "RGBA")]
    made += [encoded(photo(40, 48), "JPEG", progressive=True), png_claiming(9, 9), gif_claiming(9, 9)]
    frames = [photo(24, 24, number) for number in range(3)]
    made += [encoded(frames[0], kind, save_all=True, append_images=frames[1:]) for kind in ("GIF", "WEBP", "PNG")]
    found = (path for path in sorted(NASTY_IMAGES.rglob("*")) if path.is_file())
    return (*made, *(path.read_bytes() for path in found if path.stat().st_size <= _LARGEST_SEED))


def mutated(number: int, files: Sequence[bytes]) -> bytes:
    """The file of a number: one of `files` with a few changes."""
    dice = random.Random(number)
    data = bytearray(dice.choice(files))
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        # Headers stand in front, and are what a parser believes.
        at = dice.randrange(min(len(data), dice.choice((64, 512, 2**20))) or 1)
        length = dice.choice((1, 2, 4, 16, 64))
        change = dice.randrange(7)
        if change == 0:
            data[at : at + 1] = bytes([dice.randrange(256)])
        elif change == 1:
            width = dice.choice((1, 2, 4))
            value = dice.choice(_NUMBERS) & (256**width - 1)
            data[at : at + width] = value.to_bytes(width, dice.choice(("little", "big")))
        elif change == 2:
            del data[at : at + length]
        elif change == 3:
            data[at:at] = dice.randbytes(length)
        elif change == 4:
            data[at:at] = data[at : at + length] * dice.choice((1, 2, 50))
        elif change == 5:
            del data[max(at, 8) :]
        else:
            other = dice.choice(files)
            data[at:] = other[min(at, len(other)) :]
    return bytes(data)


def outcome(data: bytes) -> str:
    """Decode a file twice: `ok` or the code of its error. Any other exception is a fault."""
    codes = []
    for read in (lambda: decode(data, _LIMITS), lambda: decode_small(data, _LIMITS, (16, 16))[0]):
        try:
            pixels = read()
        except RowError as error:
            codes.append(str(ErrorCode(error.code)))
            if not error.message.isprintable():
                raise
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            codes.append("ok")
    return codes[0]


def main(first: int, count: int, progress: Path) -> None:
    """Decode the files with these numbers."""
    files, counts, slowest = seeds(), Counter[str](), (0.0, first)
    with progress.open("r+b") as file, mmap.mmap(file.fileno(), 8) as now:
        for number in range(first, first + count):
            now[:] = number.to_bytes(8, "little")
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            start = time.monotonic()
            counts[outcome(mutated(number, files))] += 1
            slowest = max(slowest, (time.monotonic() - start, number))
    faulthandler.cancel_dump_traceback_later()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sys.stdout.write(json.dumps({"counts": counts, "slowest_s": slowest, "peak_mib": peak}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

"""What bad, lying and hostile files come to."""

from __future__ import annotations

import csv
import io
import random
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from tests.helpers.pictures import NASTY_IMAGES, encoded, gif_claiming, photo, png_claiming
from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.images.decoder import ImageLimits, decode
from vqa_ray.images.formats import quiet_warnings

LIMITS = ImageLimits()
needs_data = pytest.mark.skipif(not NASTY_IMAGES.is_dir(), reason="VQA_RAY_TEST_DATA has no nasty_images")
# What Pillow opens and we refuse, and why; everything else that it opens is decoded.
REFUSED = {
    "pillow/five_channels.psd": "image_unsupported: Photoshop document",
    "pillow/psd-oob-write.psd": "image_unsupported: Photoshop document",
    # Pillow 12 ignored the wrong checksum of the pixels; Pillow 13 does not.
    "libpng/crashers/badadler.png": "image_undecodable: PNG: broken data stream",
}
# What Pillow alone refuses because of metadata, although the pixels are whole.
READ_ANYWAY = (
    "libpng/crashers/empty_ancillary_chunks.png",
    "pillow/png_decompression_dos.png",
    "pillow/unknown_compression_method.png",
)


def failure(data: bytes, limits: ImageLimits = LIMITS) -> RowError:
    with pytest.raises(RowError) as caught:
        decode(data, limits)
    assert "\n" not in caught.value.message
    return caught.value


@needs_data
def test_every_nasty_file_gives_pixels_or_a_row_error() -> None:
    """In its own process, to measure the peak of its memory."""
    program = f"""
import time
from pathlib import Path
from vqa_ray.errors import RowError
from vqa_ray.images.formats import quiet_warnings
from vqa_ray.images.decoder import ImageLimits, decode
root = Path({str(NASTY_IMAGES)!r})
def peak(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
for path in sorted(root.rglob("*")):
    if path.is_file():
        start = time.perf_counter()
        try:
            outcome = "ok " + str(decode(path.read_bytes(), ImageLimits()).shape)
        except RowError as error:
            outcome = str(error)
        print(path.relative_to(root), time.perf_counter() - start, outcome, sep="\\t")
print("peak", peak() - before, "KiB", sep="\\t")
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    assert int(lines.pop()[1]) < 150 * 1024
    outcomes = {name: outcome for name, _seconds, outcome in lines}
    assert max(float(seconds) for _name, seconds, _outcome in lines) < 5.0
    with (NASTY_IMAGES / "MANIFEST.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 200
    for row in rows:
        outcome, loads = outcomes[row["file"]], row["load"] == "ok" or row["file"] in READ_ANYWAY
        if row["file"] in REFUSED:
            assert outcome.startswith(REFUSED[row["file"]])
        else:
            assert outcome.startswith("ok") == loads, f"{row['file']}: {outcome}"


def test_no_bytes_is_a_missing_image() -> None:
    assert failure(b"").code == ErrorCode.IMAGE_MISSING


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello, I am a text file", "not an image: 23 bytes"),
        (b"<!DOCTYPE html><html>404</html>", "an HTML page of 31 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer, not the image"),
        (b"\xff\xd8\xff", "JPEG: "),
        (b"BM and some more text that is no bitmap at all", "BMP: "),
        (b"\x00\x00\x01\x00\x00\x00", "ICO: "),
        (encoded(photo(64, 64), "JPEG")[:700], "JPEG: image file is truncated"),
        (encoded(photo(64, 64), "PNG")[:700], "PNG: image file is truncated"),
    ],
)
def test_what_is_no_image_is_undecodable(data: bytes, message: str) -> None:
    error = failure(data)
    assert error.code == ErrorCode.IMAGE_UNDECODABLE
    assert message in error.message
    assert "hello" not in error.message


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"%PDF-1.7\n", "PDF"),
        (b"8BPS\x00\x01", "Photoshop document"),
        (b"\xd7\xcd\xc6\x9a\x00\x00", "WMF"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "SVG"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "video"),
    ],
)
def test_other_formats_are_unsupported_by_name(data: bytes, name: str) -> None:
    error = failure(data)
    assert error.code == ErrorCode.IMAGE_UNSUPPORTED
    assert error.message.startswith(name)
    assert "known are JPEG, PNG" in error.message


@pytest.mark.parametrize(
    "data", [gif_claiming(65535, 65535), png_claiming(100_000, 100_000), png_claiming(1, 90_000_000)]
)
def test_a_bomb_costs_nothing(data: bytes) -> None:
    program = f"""
import resource
from vqa_ray.errors import RowError
from vqa_ray.images.formats import quiet_warnings
from vqa_ray.images.decoder import ImageLimits, decode
decode(bytes.fromhex({encoded(photo(8, 8), "PNG").hex()!r}), ImageLimits())
resource.setrlimit(resource.RLIMIT_AS, 2 * [int(open("/proc/self/statm").read().split()[0]) * 4096 + 2**24])
try:
    decode(bytes.fromhex({data.hex()!r}), ImageLimits())
except RowError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("image_too_large: ")
    assert "not enough memory" not in run.stdout


def test_a_gif_bomb_has_44_bytes() -> None:
    assert len(gif_claiming(65535, 65535)) <= 44


def test_limits_are_exact() -> None:
    data = encoded(photo(20, 10), "PNG")
    fits = ImageLimits(max_image_bytes=len(data), max_image_pixels=200, max_image_side=20)
    assert decode(data, fits).shape == (10, 20, 3)
    for limits, message in (
        (ImageLimits(max_image_bytes=len(data) - 1), f"{len(data)} bytes; at most {len(data) - 1} are allowed"),
        (ImageLimits(max_image_pixels=199), "20×10 = 200 pixels; at most 199 are allowed"),
        (ImageLimits(max_image_side=19), "20×10 pixels; at most 19 are allowed on a side"),
    ):
        error = failure(data, limits)
        assert error.code == ErrorCode.IMAGE_TOO_LARGE
        assert message in error.message


def test_an_icon_is_measured_by_the_image_within() -> None:
    data = encoded(photo(64, 64), "ICO", sizes=[(64, 64)])
    inner = data.index(b"\x89PNG")
    lying = data[:inner] + png_claiming(9000, 9000)
    assert "81000000 pixels" in failure(lying, ImageLimits(max_image_pixels=1_000_000)).message


def test_frames_are_counted_where_the_header_tells_them() -> None:
    frames = [photo(8, 8, seed) for seed in range(3)]
    for kind in ("PNG", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert decode(data, ImageLimits(max_image_frames=3)).shape == (8, 8, 3)
        assert "3 frames; at most 2" in failure(data, ImageLimits(max_image_frames=2)).message


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RequestError, match="max_image_bytes is 0; it must be at least 1"):
        ImageLimits(max_image_bytes=0)
    with pytest.raises(RequestError, match="it can be at most 178956970"):
        ImageLimits(max_image_pixels=10**9)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", ["chunks", "junk", "segments", "comments", "tags", "exif"])
def test_files_made_to_keep_a_parser_busy_end_soon(case: str) -> None:
    image = photo(16, 16)
    jpeg, png = encoded(image, "JPEG"), encoded(image, "PNG")
    text = b"\x00\x00\x00\x01tEXtx" + struct.pack(">I", zlib.crc32(b"tEXtx"))
    exif = b"\xff\xe1" + struct.pack(">H", 1002) + b"Exif\x00\x00" + bytes(994)
    data = {
        "chunks": png[:33] + text * 2_000_000 + png[33:],
        "junk": jpeg[:2] + b"\xff" * 30_000_000 + jpeg[2:],
        "segments": jpeg[:2] + b"\xff\xfe\x00\x02" * 8_000_000 + jpeg[2:],
        "comments": gif_claiming(16, 16)[:19] + b"!\xfe" + b"\x01x" * 16_000_000 + b"\x00,",
        "tags": b"II+\x00\x08\x00\x00\x00\x10" + bytes(7) + struct.pack("<Q", 3_000_000) + bytes(60_000_000),
        "exif": jpeg[:2] + exif * 60_000 + jpeg[2:],
    }[case]
    assert failure(data).code in (ErrorCode.IMAGE_TOO_LARGE, ErrorCode.IMAGE_UNDECODABLE)


def test_scans_of_a_jpeg_are_counted() -> None:
    data = encoded(photo(16, 16), "JPEG", progressive=True)
    assert decode(data, LIMITS).shape == (16, 16, 3)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    assert failure(data[:-2] + scan * 500 + data[-2:]).message == "JPEG: more than 500 scans"


def test_pillow_warnings_do_not_leak_and_filters_are_restored(recwarn: pytest.WarningsRecorder) -> None:
    data = encoded(photo(8, 8), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x00")
    with pytest.warns(UserWarning, match="EXIF"), PillowImage.open(io.BytesIO(data)) as image:
        image.getexif()
    before = list(warnings.filters)
    assert decode(data, LIMITS).shape == (8, 8, 3)
    assert warnings.filters == before
    assert not recwarn.list


def test_warning_filters_survive_overlapping_threads() -> None:
    before = list(warnings.filters)
    inside, leave = threading.Barrier(2, timeout=10), threading.Event()

    def stay() -> None:
        with quiet_warnings:
            inside.wait()
            leave.wait(10)

    other = threading.Thread(target=stay)
    other.start()
    with quiet_warnings:
        inside.wait()
        # The other thread leaves last, with what this one found on entry.
    assert warnings.filters != before
    leave.set()
    other.join()
    assert warnings.filters == before


SEEDS = [
    encoded(photo(24, 16), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "ICO")
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.randoms(use_true_random=False), st.integers(0, 12), st.booleans())
def test_damaged_files_never_raise_anything_else(data: bytes, generator: random.Random, flips: int, cut: bool) -> None:
    damaged = bytearray(data)
    for _ in range(flips):
        damaged[generator.randrange(len(damaged))] = generator.randrange(256)
    if cut:
        del damaged[generator.randrange(len(damaged)) :]
    try:
        pixels = decode(bytes(damaged), ImageLimits(max_image_pixels=1_000_000))
    except RowError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3

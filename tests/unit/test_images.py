from __future__ import annotations

import csv
import io
import itertools
import os
import random
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.image_formats import quiet_warnings
from vqa_ray.images import ImageLimits, decode, decode_resized, resize

DATA = Path(os.environ.get("VQA_RAY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "nasty_images"
LIMITS = ImageLimits()
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="VQA_RAY_TEST_DATA has no nasty_images")
# What Pillow opens and we refuse, and why; everything else that it opens is decoded.
REFUSED = {
    "pillow/five_channels.psd": "image_unsupported: Photoshop document",
    "pillow/psd-oob-write.psd": "image_unsupported: Photoshop document",
    # Pillow 12 ignored the wrong checksum of the pixels; Pillow 13 does not.
    "libpng/crashers/badadler.png": "image_undecodable: PNG: broken data stream",
}


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


def failure(data: bytes, limits: ImageLimits = LIMITS) -> RowError:
    with pytest.raises(RowError) as caught:
        decode(data, limits)
    assert "\n" not in caught.value.message
    return caught.value


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def gif_claiming(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
        ("JPEG2000", {}),
        ("ICO", {"sizes": [(48, 32)]}),
    ],
)
def test_lossless_formats_give_the_very_pixels(kind: str, options: dict[str, object]) -> None:
    image = photo(48, 32)
    pixels = decode(encoded(image, kind, **options), LIMITS)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, np.asarray(image))


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "WEBP", "MPO"])
def test_lossy_formats_give_nearly_the_pixels(kind: str) -> None:
    image = photo(64, 48)
    pixels = decode(encoded(image, kind, quality=95), LIMITS)
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - np.asarray(image)).mean() < 4


def test_transparency_lies_on_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0] = [(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 128)]
    expected = [[200, 0, 0], [255, 255, 255], [227, 127, 127]]
    for kind in ("PNG", "TIFF"):
        np.testing.assert_allclose(decode(encoded(PillowImage.fromarray(rgba), kind), LIMITS)[0], expected, atol=1)
    gray = np.array([[[100, 255], [100, 0]]], np.uint8)
    np.testing.assert_array_equal(
        decode(encoded(PillowImage.fromarray(gray, "LA"), "PNG"), LIMITS)[0], [[100] * 3, [255] * 3]
    )


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_is_white(kind: str) -> None:
    image = PillowImage.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    pixels = decode(encoded(image, kind, transparency=0), LIMITS)
    np.testing.assert_array_equal(pixels[0], [[255, 255, 255], [40, 50, 60]])


def test_a_transparent_colour_key_is_white_for_gray_rgb_and_16_bit() -> None:
    gray = PillowImage.fromarray(np.array([[7, 9]], np.uint8))
    np.testing.assert_array_equal(decode(encoded(gray, "PNG", transparency=7), LIMITS)[0, :, 0], [255, 9])
    rgb = PillowImage.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    pixels = decode(encoded(rgb, "PNG", transparency=(1, 2, 3)), LIMITS)
    np.testing.assert_array_equal(pixels[0], [[255] * 3, [4, 5, 6]])
    deep = PillowImage.fromarray(np.array([[300, 65535]], np.uint16))
    np.testing.assert_array_equal(decode(encoded(deep, "PNG", transparency=300), LIMITS)[0, :, 0], [255, 255])


def test_16_bit_gray_is_scaled_by_its_full_range() -> None:
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        pixels = decode(encoded(PillowImage.fromarray(values), kind), LIMITS)
        np.testing.assert_array_equal(pixels[0], [[0] * 3, [1] * 3, [128] * 3, [255] * 3])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-100_000, 0, 100_000]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[np.nan, np.inf, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[3e6, 3e6, 3e6]], np.float32), [0, 0, 0]),
    ],
)
def test_32_bit_gray_is_scaled_by_the_range_that_holds_it(values: np.ndarray, expected: list[int]) -> None:
    pixels = decode(encoded(PillowImage.fromarray(values), "TIFF"), LIMITS)
    np.testing.assert_array_equal(pixels[0, :, 0], expected)


def test_one_bit_gray_and_cmyk() -> None:
    bits = PillowImage.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    np.testing.assert_array_equal(decode(encoded(bits, "PNG"), LIMITS)[0], [[0] * 3, [255] * 3])
    red = PillowImage.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        np.testing.assert_allclose(decode(encoded(red, kind), LIMITS)[8, 8], [254, 0, 0], atol=3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [PillowImage.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_allclose(decode(data, LIMITS)[8, 8], [255, 0, 0], atol=3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(kind: str, orientation: int) -> None:
    image = photo(40, 24)
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(image, kind, exif=exif, **options)
    operations = [None, 0, 3, 1, 5, 4, 6, 2]
    turn = operations[orientation - 1]
    expected = np.asarray(image if turn is None else image.transpose(PillowImage.Transpose(turn)))
    pixels = decode(data, LIMITS)
    assert pixels.shape == expected.shape
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - expected).mean() < 4
    resized = decode_resized(data, LIMITS, lambda _height, _width: (16, 32))
    assert np.abs(resized.astype(int) - resize(pixels, 16, 32)).max() <= 2


def test_broken_exif_does_not_cost_the_image() -> None:
    for exif in (b"Exif\x00\x00garbage", b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x00"):
        assert decode(encoded(photo(8, 8), "JPEG", exif=exif), LIMITS).shape == (8, 8, 3)


@needs_data
@pytest.mark.parametrize("name", ["Landscape", "Portrait"])
def test_the_nine_orientation_files_are_one_picture(name: str) -> None:
    def small(variant: int) -> np.ndarray:
        pixels = decode((DATA / "exif_orientation" / f"{name}_{variant}.jpg").read_bytes(), LIMITS)
        assert pixels.shape == ((1200, 1800, 3) if name == "Landscape" else (1800, 1200, 3))
        return resize(pixels, 120, 120).astype(int)

    first = small(0)
    for variant in range(1, 9):
        assert np.abs(small(variant) - first).mean() < 3


@needs_data
def test_every_nasty_file_gives_pixels_or_a_row_error() -> None:
    """In its own process, to measure the peak of its memory."""
    program = f"""
import time
from pathlib import Path
from vqa_ray.errors import RowError
from vqa_ray.image_formats import quiet_warnings
from vqa_ray.images import ImageLimits, decode
root = Path({str(DATA)!r})
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
    with (DATA / "MANIFEST.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 200
    for row in rows:
        outcome, loads = outcomes[row["file"]], row["load"] == "ok"
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
from vqa_ray.image_formats import quiet_warnings
from vqa_ray.images import ImageLimits, decode
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
@pytest.mark.parametrize("case", ["chunks", "junk", "segments", "scans", "comments", "tags", "exif"])
def test_files_made_to_keep_a_parser_busy_end_soon(case: str) -> None:
    image = photo(16, 16)
    jpeg, png = encoded(image, "JPEG"), encoded(image, "PNG")
    text = b"\x00\x00\x00\x01tEXtx" + struct.pack(">I", zlib.crc32(b"tEXtx"))
    exif = b"\xff\xe1" + struct.pack(">H", 1002) + b"Exif\x00\x00" + bytes(994)
    data = {
        "chunks": png[:33] + text * 2_000_000 + png[33:],
        "junk": jpeg[:2] + b"\xff" * 30_000_000 + jpeg[2:],
        "segments": jpeg[:2] + b"\xff\xfe\x00\x02" * 8_000_000 + jpeg[2:],
        "scans": jpeg[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 501 + jpeg[-2:],
        "comments": gif_claiming(16, 16)[:19] + b"!\xfe" + b"\x01x" * 16_000_000 + b"\x00,",
        "tags": b"II+\x00\x08\x00\x00\x00\x10" + bytes(7) + struct.pack("<Q", 3_000_000) + bytes(60_000_000),
        "exif": jpeg[:2] + exif * 60_000 + jpeg[2:],
    }[case]
    assert failure(data).code in (ErrorCode.IMAGE_TOO_LARGE, ErrorCode.IMAGE_UNDECODABLE)


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


@pytest.mark.parametrize(
    "size", [(640, 480, 512, 384), (400, 533, 384, 480), (1500, 1000, 576, 384), (50, 60, 384, 448)]
)
def test_resize_equals_pillow(size: tuple[int, int, int, int]) -> None:
    from_width, from_height, width, height = size
    image, bicubic = photo(from_width, from_height), PillowImage.Resampling.BICUBIC
    resized = resize(np.asarray(image), height, width)
    assert resized.shape == (height, width, 3)
    assert resized.flags.c_contiguous
    difference = np.abs(resized.astype(int) - image.resize((width, height), bicubic))
    assert difference.max() <= 2
    # Pillow 13 resizes vertically first where that is cheaper (the second size): rounding then differs by 1 in places.
    assert difference.mean() <= 0.3
    rows_first = image.resize((width, from_height), bicubic).resize((width, height), bicubic)
    difference = np.abs(resized.astype(int) - rows_first)
    assert difference.max() <= 2
    assert difference.mean() <= 0.01


def test_resize_to_the_same_size_is_the_identity_and_leaves_its_input_alone() -> None:
    pixels = np.asarray(photo(32, 24))
    assert resize(pixels, 24, 32) is pixels
    copy = pixels.copy()
    resize(pixels, 12, 16)
    np.testing.assert_array_equal(pixels, copy)


@pytest.mark.parametrize("orientation", [1, 6])
def test_draft_scaling_covers_what_is_asked_and_keeps_the_picture(orientation: int) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(1200, 800), "JPEG", quality=92, exif=exif)
    full = decode(data, LIMITS)
    wanted = (200, 290) if orientation == 1 else (290, 200)
    drafted = decode(data, LIMITS, draft_for=wanted)
    assert drafted.shape == ((200, 300, 3) if orientation == 1 else (300, 200, 3))
    difference = np.abs(resize(drafted, *wanted).astype(int) - resize(full, *wanted))
    assert difference.mean() < 4
    asked: list[tuple[int, int]] = []

    def target(height: int, width: int) -> tuple[int, int]:
        asked.append((height, width))
        return wanted

    fast = decode_resized(data, LIMITS, target, fast=True)
    assert set(asked) == {full.shape[:2]}
    np.testing.assert_array_equal(fast.shape, (*wanted, 3))
    assert np.abs(fast.astype(int) - resize(drafted, *wanted)).max() <= 2


def test_draft_scaling_never_falls_below_what_is_asked() -> None:
    data = encoded(photo(97, 61), "JPEG")
    for height, width in itertools.product((1, 7, 8, 15, 30, 31, 61, 100), (1, 12, 13, 24, 48, 49, 97, 200)):
        pixels = decode(data, LIMITS, draft_for=(height, width))
        assert pixels.shape[0] >= min(height, 61)
        assert pixels.shape[1] >= min(width, 97)


def test_errors_of_the_target_size_pass_through() -> None:
    def refuse(height: int, width: int) -> tuple[int, int]:
        raise RowError(ErrorCode.IMAGE_ASPECT_RATIO, f"{width}x{height} is too long")

    for fast in (False, True):
        with pytest.raises(RowError, match=r"image_aspect_ratio: .*16x8 is too long"):
            decode_resized(encoded(photo(16, 8), "JPEG"), LIMITS, refuse, fast=fast)


def test_images_import_without_torch() -> None:
    program = "import sys, vqa_ray.images, vqa_ray.storage, vqa_ray.fetch; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)

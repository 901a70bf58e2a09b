from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.helpers.pictures import NASTY_IMAGES, encoded, photo
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits, decode, decode_resized, decode_small, resize

LIMITS = ImageLimits()
needs_data = pytest.mark.skipif(not NASTY_IMAGES.is_dir(), reason="VQA_RAY_TEST_DATA has no nasty_images")


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
        pixels = decode((NASTY_IMAGES / "exif_orientation" / f"{name}_{variant}.jpg").read_bytes(), LIMITS)
        assert pixels.shape == ((1200, 1800, 3) if name == "Landscape" else (1800, 1200, 3))
        return resize(pixels, 120, 120).astype(int)

    first = small(0)
    for variant in range(1, 9):
        assert np.abs(small(variant) - first).mean() < 3


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
    drafted = decode_small(data, LIMITS, wanted)[0]
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
        pixels = decode_small(data, LIMITS, (height, width))[0]
        assert pixels.shape[0] >= min(height, 61)
        assert pixels.shape[1] >= min(width, 97)


def test_errors_of_the_target_size_pass_through() -> None:
    def refuse(height: int, width: int) -> tuple[int, int]:
        raise RowError(ErrorCode.IMAGE_ASPECT_RATIO, f"{width}x{height} is too long")

    for fast in (False, True):
        with pytest.raises(RowError, match=r"image_aspect_ratio: .*16x8 is too long"):
            decode_resized(encoded(photo(16, 8), "JPEG"), LIMITS, refuse, fast=fast)


def test_images_import_without_torch() -> None:
    modules = "vqa_ray.images.decoder, vqa_ray.storage.filesystem, vqa_ray.images.fetch"
    program = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_libtiff_does_not_write_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(PillowImage.new("RGB", (64, 64), "red"), "TIFF", compression="tiff_lzw"))
    data[20:60] = bytes(40)
    with pytest.raises(RowError, match="TIFF: decoder error -2"):
        decode(bytes(data), LIMITS)
    assert capfd.readouterr().err == ""

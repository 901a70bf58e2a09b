"""Broken metadata never costs pixels that are whole."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from tests.helpers.pictures import encoded, photo
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits, decode
from vqa_ray.images.metadata import stripped

PHOTO = photo(60, 40)
PNG = encoded(PHOTO, "PNG")
JPEG = encoded(PHOTO, "JPEG", quality=95)


def exif(orientation: int) -> bytes:
    tags = PillowImage.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def chunk(kind: bytes, data: bytes, *, wrong_crc: int = 0, length: int | None = None) -> bytes:
    head = struct.pack(">I", len(data) if length is None else length)
    return head + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong_crc)


def segment(marker: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2 if length is None else length) + body


def riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for kind, part in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 12, []
    while at + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return found


PNG_CHUNKS = {
    "text of 2 MB": chunk(b"zTXt", b"XML:com.adobe\0\0" + zlib.compress(b"x" * (2 << 20))),
    "international text of 2 MB": chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b" " * (2 << 20))),
    "text of 80 MB": b"".join(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6))) for _ in range(80)),
    "profile of 2 MB": chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(2 << 20))),
    "profile by an unknown method": chunk(b"iCCP", b"profile\0\1x"),
    "empty profile": chunk(b"iCCP", b""),
    "wrong checksum of text": chunk(b"tEXt", b"a\0b", wrong_crc=1),
    "wrong checksum of gamma": chunk(b"gAMA", struct.pack(">I", 45455), wrong_crc=1),
    "short physical size": chunk(b"pHYs", b"\0"),
    "short chromaticities": chunk(b"cHRM", b"\0"),
    "empty sRGB": chunk(b"sRGB", b""),
    "short transparency": chunk(b"tRNS", b"a"),
    "short animation": chunk(b"acTL", b"\0"),
    "too long a length": chunk(b"tEXt", b"a\0b", length=10**6),
    "too short a length": chunk(b"tEXt", b"a\0b" * 10, length=3),
    "name that is not ASCII": chunk(b"\xe9abc", b"x"),
}


@pytest.mark.parametrize("case", PNG_CHUNKS)
def test_a_broken_chunk_does_not_cost_a_png(case: str) -> None:
    broken = PNG[:33] + PNG_CHUNKS[case] + PNG[33:]
    assert np.array_equal(decode(broken, ImageLimits()), np.asarray(PHOTO))


JPEG_SEGMENTS = {
    "short JFIF": segment(0xE0, b"JFIF\0"),
    "short Adobe": segment(0xEE, b"Adobe\0"),
    "short ICC": segment(0xE2, b"ICC_PROFILE\0"),
    "lost ICC parts": segment(0xE2, b"ICC_PROFILE\0\x01\x09abc"),
    "EXIF of nonsense": segment(0xE1, b"Exif\0\0nonsense"),
    "EXIF that leads to itself": segment(
        0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    ),
    "XMP of nonsense": segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="99"'),
    "length of 0": segment(0xE1, b"Exif\0\0II*\0", 0),
    "too long a length": segment(0xE1, b"Exif\0\0II*\0", 60_000),
    "too short a length": segment(0xE1, b"Exif\0\0II*\0" * 20, 50),
    "comment that is too long": segment(0xFE, b"hello", 60_000),
    "Photoshop block cut short": segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\x00"),
    "index of pictures of nonsense": segment(0xE2, b"MPF\0nonsense"),
    "reserved marker": b"\xff\x02",
}


@pytest.mark.parametrize("case", JPEG_SEGMENTS)
def test_a_broken_segment_does_not_cost_a_jpeg(case: str) -> None:
    broken = JPEG[:2] + JPEG_SEGMENTS[case] + JPEG[2:]
    assert np.array_equal(decode(broken, ImageLimits()), decode(JPEG, ImageLimits()))


@pytest.mark.parametrize("case", ["JPEG", "PNG"])
def test_the_orientation_survives_what_is_broken_beside_it(case: str) -> None:
    upright = decode(JPEG if case == "JPEG" else PNG, ImageLimits())
    if case == "JPEG":
        broken = JPEG[:2] + segment(0xE0, b"JFIF\0") + segment(0xE1, exif(6)) + JPEG[2:]
    else:
        broken = PNG[:33] + chunk(b"gAMA", b"1") + chunk(b"eXIf", exif(6)[6:]) + PNG[33:]
    assert np.array_equal(decode(broken, ImageLimits()), np.rot90(upright, -1))


@pytest.mark.parametrize("kind", [b"ICCP", b"EXIF", b"XMP "])
@pytest.mark.parametrize("fault", ["gone", "nonsense", "length"])
def test_broken_metadata_does_not_cost_a_webp(kind: bytes, fault: str) -> None:
    whole = encoded(PHOTO, "WEBP", lossless=True, exif=exif(1), icc_profile=b"x" * 100, xmp=b"<x/>")
    chunks = riff_chunks(whole)
    assert kind in dict(chunks)
    if fault == "gone":
        broken = riff([one for one in chunks if one[0] != kind])
    elif fault == "nonsense":
        broken = riff([(name, b"\xff" * 7 if name == kind else body) for name, body in chunks])
    else:
        at = whole.index(kind) + 4
        broken = whole[:at] + struct.pack("<I", 10**6) + whole[at + 4 :]
    assert np.array_equal(decode(broken, ImageLimits()), np.asarray(PHOTO))


def test_odd_tags_do_not_cost_a_tiff() -> None:
    whole = encoded(PHOTO, "TIFF", tiffinfo={306: "2020", 315: "me"}, icc_profile=b"x" * 50, dpi=(72, 72))
    (at,) = struct.unpack_from("<I", whole, 4)
    (count,) = struct.unpack_from("<H", whole, at)
    cases = 0
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, offset = struct.unpack_from("<HHII", whole, place)
        if tag not in (282, 283, 296, 306, 315, 34675):
            continue
        for changed in ((kind, 100, 10**8), (99, values, offset), (kind, 2**31, offset), (kind, 0, offset)):
            broken = bytearray(whole)
            struct.pack_into("<HHII", broken, place, tag, *changed)
            assert np.array_equal(decode(bytes(broken), ImageLimits()), np.asarray(PHOTO)), (tag, changed)
            cases += 1
    assert cases >= 16


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("fault", ["cut", "nonsense"])
def test_later_frames_do_not_cost_the_first(kind: str, fault: str) -> None:
    first = PHOTO.convert("P") if kind == "GIF" else PHOTO
    more = [first.rotate(90), first.rotate(180)]
    options = {"lossless": True} if kind == "WEBP" else {}
    whole = encoded(first, kind, save_all=True, append_images=more, **options)
    keep = int(len(whole) * 0.8)
    broken = whole[:keep] + (b"" if fault == "cut" else bytes(len(whole) - keep))
    assert np.array_equal(decode(broken, ImageLimits()), np.asarray(first.convert("RGB")))


def test_broken_pixels_stay_an_error_of_the_first_attempt() -> None:
    broken = PNG[:33] + chunk(b"gAMA", b"1") + PNG[33 : 33 + 20]
    with pytest.raises(RowError, match="Truncated gAMA chunk") as raised:
        decode(broken, ImageLimits())
    assert raised.value.code == ErrorCode.IMAGE_UNDECODABLE


def test_limits_hold_for_what_is_stripped() -> None:
    broken = PNG[:33] + PNG_CHUNKS["short chromaticities"] + PNG[33:]
    with pytest.raises(RowError) as raised:
        decode(broken, ImageLimits(max_image_pixels=100))
    assert raised.value.code == ErrorCode.IMAGE_TOO_LARGE


def test_formats_without_known_metadata_are_left_alone() -> None:
    buffer = io.BytesIO()
    PHOTO.save(buffer, "BMP")
    assert list(stripped(buffer.getvalue(), "BMP")) == []


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF"]), st.randoms(use_true_random=False), st.integers(1, 12))
def test_stripping_never_raises(kind: str, generator, flips: int) -> None:  # type: ignore[no-untyped-def]
    data = bytearray(encoded(PHOTO, kind))
    for _ in range(flips):
        data[generator.randrange(len(data))] = generator.randrange(256)
    for cut in (len(data), generator.randrange(len(data))):
        assert all(isinstance(copy, bytes) for copy in stripped(bytes(data[:cut]), kind))

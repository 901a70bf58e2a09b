"""Strip broken metadata from an encoded image whose pixels are whole.

Used only after decoding failed: for text that inflates to megabytes, a truncated colour profile, a wrong checksum.
Whatever determines the pixels is copied unchanged; the orientation is kept if possible.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# The search for the next chunk or segment ends after so many bytes.
_SEARCH_BYTES = 2**20
_EXIF = b"Exif\x00\x00"
# The TIFF tags that determine the pixels. Stripped are names, dates, resolution, XMP, IPTC, Photoshop, EXIF, ICC, GPS
# and all private tags but those of the colour filter.
_TIFF_PIXELS = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 284, 292, 293, 317, 318, 319)
) | frozenset((320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514, 519, 520, 521, 529, 530, 532))


def stripped(data: bytes, kind: str) -> Iterator[bytes]:
    """Yield copies of an encoded image with less and less metadata, for a decoder to try in turn.

    Args:
        data: the encoded file.
        kind: its format, see `vqa_ray.images.formats.identify`; formats other than PNG, JPEG, WebP and TIFF have none.
    """
    strip = _STRIPPERS.get(kind)
    seen = data
    for keeps_orientation in (True, False) if strip else ():
        try:
            copy = strip(data, keeps_orientation) if strip else data
        except (struct.error, IndexError, ValueError, OverflowError):
            return
        if copy and copy != seen:
            yield copy
            seen = copy


def _strip_png(data: bytes, keeps_orientation: bool) -> bytes:
    parts = [_PNG_SIGNATURE]
    at = len(_PNG_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        stop = at + 12 + length
        is_sound = len(body) == length and data[stop - 4 : stop] == struct.pack(">I", zlib.crc32(kind + body))
        if kind == b"IDAT" or (kind in _PNG_PIXELS[:2] and is_sound):
            # Pixels stay as they are: the decoder checks them itself.
            parts.append(data[at:stop])
        elif is_sound and keeps_orientation and kind in (b"tRNS", b"eXIf"):
            parts.append(data[at:stop])
        elif kind == b"IEND":
            break
        elif not is_sound and not _is_png_chunk(data, stop):
            # The length is wrong, too: continue at the next chunk of pixels.
            found = [data.find(name, at + 8, at + 8 + _SEARCH_BYTES) for name in (b"PLTE", b"tRNS", b"IDAT")]
            stop = min((offset for offset in found if offset >= 0), default=len(data) + 4) - 4
        at = stop
    parts.append(struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")))
    return b"".join(parts)


def _is_png_chunk(data: bytes, at: int) -> bool:
    return len(data) >= at + 8 and data[at + 4 : at + 8].isalpha()


def _strip_jpeg(data: bytes, keeps_orientation: bool) -> bytes:
    parts = [b"\xff\xd8"]
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
            at += 1
            continue
        marker = data[at + 1]
        if marker == 0xDA:
            return b"".join([*parts, data[at:]])
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9:
            # Reserved, or without a body.
            at += 2
            continue
        stop = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        body = data[at + 4 : stop]
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            is_exif = marker == 0xE1 and body.startswith(_EXIF)
            is_adobe = marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12
            if stop < at + 4 or data[stop : stop + 1] != b"\xff":
                # The length is wrong: continue at the next table or frame.
                at = _next_jpeg_segment(data, at + 2)
                continue
            if is_adobe or (is_exif and keeps_orientation):
                parts.append(data[at:stop])
        elif 0xC0 <= marker <= 0xCF or 0xDB <= marker <= 0xDF:
            parts.append(data[at:stop])
        at = max(stop, at + 2)
    return b""


def _next_jpeg_segment(data: bytes, at: int) -> int:
    """Find the next quantization table, Huffman table, frame or restart interval with a plausible length."""
    limit = min(len(data) - 4, at + _SEARCH_BYTES)
    while (at := data.find(b"\xff", at, limit)) >= 0:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker in (0xDB, 0xC4, 0xC0, 0xC1, 0xC2, 0xDD) and data[at + 2 + length : at + 3 + length] == b"\xff":
            return at
        at += 1
    return len(data)


def _strip_webp(data: bytes, keeps_orientation: bool) -> bytes:
    chunks = list(_riff_chunks(data, 12))
    kinds = dict(reversed(chunks))
    exif = [(b"EXIF", kinds[b"EXIF"])] if keeps_orientation and b"EXIF" in kinds else []
    pixels = [(kind, body) for kind, body in chunks if kind in (b"ALPH", b"VP8 ", b"VP8L")]
    frame = kinds.get(b"ANMF")
    if frame is not None and not pixels:
        # Only the first frame is shown.
        pixels = [(b"ANIM", kinds.get(b"ANIM", bytes(6))), (b"ANMF", frame)]
    if not pixels:
        return b""
    head = kinds.get(b"VP8X", b"")
    if len(head) == 10:
        flags = head[0] & (0b00010010) | (0b00001000 if exif else 0)
        pixels = [(b"VP8X", bytes([flags]) + head[1:]), *pixels, *exif]
    body = b"".join(kind + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for kind, part in pixels)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _riff_chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if len(body) < length and kind not in (b"VP8 ", b"VP8L", b"ANMF"):
            # The length is wrong: continue where the pixels begin.
            found = [data.find(name, at + 8) for name in (b"ALPH", b"VP8 ", b"VP8L", b"ANMF")]
            at = min((offset for offset in found if offset >= 0), default=len(data))
            continue
        yield kind, body
        at += 8 + length + length % 2


def _strip_tiff(data: bytes, keeps_orientation: bool) -> bytes:
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\x00", b"\x00+")
    at_format, count_format, entry_bytes = ("Q", "Q", 20) if is_big else ("I", "H", 12)
    (at,) = struct.unpack_from(order + at_format, data, 8 if is_big else 4)
    (count,) = struct.unpack_from(order + count_format, data, at)
    first = at + struct.calcsize(order + count_format)
    entries = [data[first + i * entry_bytes :][:entry_bytes] for i in range(min(count, 4096))]
    tags = _TIFF_PIXELS if keeps_orientation else _TIFF_PIXELS - {274}
    kept = [entry for entry in entries if len(entry) == entry_bytes and _tag(entry, order) in tags]
    copy = bytearray(data)
    struct.pack_into(order + count_format, copy, at, len(kept))
    directory = b"".join(kept) + bytes(struct.calcsize(order + at_format))
    copy[first : first + len(directory)] = directory
    return bytes(copy)


def _tag(entry: bytes, order: str) -> int:
    return int(struct.unpack_from(f"{order}H", entry)[0])


_STRIPPERS: Mapping[str, Callable[[bytes, bool], bytes]] = {
    "PNG": _strip_png,
    "JPEG": _strip_jpeg,
    "WEBP": _strip_webp,
    "TIFF": _strip_tiff,
}

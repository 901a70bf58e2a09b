"""The image file formats that are read, and the opening of a file without trust in it.

Only raster formats that carry photos and graphics are opened. PostScript would start an interpreter, and PDF, SVG,
WMF and layered documents are not images: they are refused by their first bytes, before any parser sees them.
"""

from __future__ import annotations

import ctypes
import io
import struct
import threading
import warnings
import zlib
from contextlib import suppress
from functools import cache
from types import TracebackType

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)
from PIL import Image as PillowImage

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.storage.git_lfs import POINTER


class _Png(PngImagePlugin.PngImageFile):
    """A PNG whose pixels count even when the chunks after them are cut off or broken."""

    def load_end(self) -> None:
        with suppress(OSError, SyntaxError, ValueError, struct.error, zlib.error):
            super().load_end()


# The class of the JPEG plugin, not its factory: the first image of an MPO file is a JPEG like any other.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": _Png,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
FORMATS = (*_PLUGINS, "ICO")

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\x00\x00\x01\x00", "ICO"),
    *((b"P%d" % kind + space, "PPM") for kind in range(1, 7) for space in (b"\n", b" ", b"\t", b"\r", b"#")),
)
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop document"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x01\x00\x00\x00", "EMF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"icns", "Apple icon"),
    (b"DDS ", "DDS texture"),
    (b"v/1\x01", "OpenEXR"),
    (b"SIMPLE  =", "FITS"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"II\xbc", "JPEG XR"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# Pillow's Python parsers read in small steps of about a microsecond; real headers need tens to hundreds of steps. The
# budgets stop files made of millions of one-byte chunks, junk bytes or tags.
_HEADER_READS = 20_000
_READS = 500_000
# A progressive JPEG may repeat tiny scans over all of its pixels; libjpeg-turbo's own fuzzers stop at 500, too.
_MAX_SCANS = 500


class _CountedReads(io.BytesIO):
    """The bytes of a file, which raise an error after `budget` reads."""

    budget = _HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.budget -= 1
        if self.budget < 0:
            raise RowError(ErrorCode.IMAGE_TOO_LARGE, "its metadata is cut into too many pieces to read")
        return super().read(size)


class QuietWarnings:
    """Silence Python warnings while any thread is inside: Pillow warns of harmless oddities.

    `warnings.catch_warnings` alone is not safe with threads: two overlapping blocks would leave the filters changed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(kind, error, trace)


quiet_warnings = QuietWarnings()


def identify(data: bytes) -> str:
    """Identify the format of a file by its first bytes: one of `FORMATS`.

    Raises:
        RowError: `image_unsupported` for a known format that is not read, `image_undecodable` for anything else.
    """
    head = data[:64]
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    for magic, name in _REFUSED:
        if head.startswith(magic):
            raise RowError(ErrorCode.IMAGE_UNSUPPORTED, f"{name}; known are {', '.join(FORMATS)}")
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        raise RowError(ErrorCode.IMAGE_UNSUPPORTED, f"SVG; known are {', '.join(FORMATS)}")
    if text.startswith(POINTER):
        reason = "a Git LFS pointer, not the image; run `git lfs pull` in its repository"
        raise RowError(ErrorCode.IMAGE_UNDECODABLE, reason)
    if text.startswith((b"<!doctype html", b"<html")):
        raise RowError(ErrorCode.IMAGE_UNDECODABLE, f"not an image but an HTML page of {len(data)} bytes")
    raise RowError(ErrorCode.IMAGE_UNDECODABLE, f"not an image: {len(data)} bytes that begin like no known format")


def _iso_media(head: bytes) -> str:
    size = struct.unpack(">I", head[:4])[0]
    brands = head[8 : min(max(size, 16), len(head))]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    known = "HEIC" if head[8:12] in _HEIF_BRANDS else "video (ISO media)"
    raise RowError(ErrorCode.IMAGE_UNSUPPORTED, f"{known}; known are {', '.join(FORMATS)}")


@cache
def _silence_libtiff() -> None:
    """Keep libtiff from writing to descriptor 2: what it cannot read is raised by Pillow, too."""
    # Found through Pillow's extension, which links to it; a Pillow that holds libtiff itself keeps its messages.
    library = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        with suppress(AttributeError):
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
            function(None)


def open_header(data: bytes, name: str) -> PillowImage.Image:
    """Parse the header of a file of format `name`; the pixels stay undecoded (the frame of an icon may be decoded).

    Raises:
        RowError: `image_too_large` for a file made to keep a parser busy.
        Exception: from Pillow, of any type.
    """
    if name == "TIFF":
        _silence_libtiff()
    if name == "JPEG" and data.count(b"\xff\xda") > _MAX_SCANS:
        raise RowError(ErrorCode.IMAGE_TOO_LARGE, f"more than {_MAX_SCANS} scans")
    file = _CountedReads(data)
    # Icons through IcoFile, because the image class decodes the frame before its size can be checked.
    image = IcoImagePlugin.IcoFile(file).frame(0) if name == "ICO" else _PLUGINS[name](file, "")
    file.budget += _READS
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # The whole file at once: in Pillow's steps of 64 KB, libjpeg's unread rest is copied again at each step.
        image.decodermaxblock = max(len(data), ImageFile.MAXBLOCK)
    return image

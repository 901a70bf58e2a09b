"""Decode `data:` URIs (RFC 2397), which carry an image within the reference to it."""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import blake2b
from urllib.parse import unquote_to_bytes

from vqa_ray.errors import ErrorCode, RowError

_SCHEME = "data:"
_SPACE = re.compile(r"\s+")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
# The first bytes of JPEG, PNG, GIF and WebP in base64; the first begins like a path.
_IMAGES = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")
_SHORTEST = 64
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")


def is_data_uri(text: str) -> bool:
    """Check whether an image reference carries the image itself."""
    return text[: len(_SCHEME)].lower() == _SCHEME


def is_bare_base64(text: str) -> bool:
    """Check whether text is an image in base64 without the beginning that makes a `data:` URI of it."""
    return text.startswith(_IMAGES) and len(text) >= _SHORTEST and _BASE64.fullmatch(text, 0, 1024) is not None


def decode_data_uri(uri: str, max_bytes: int | None = None) -> bytes:
    """Return the bytes that a `data:` URI carries.

    They are in base64 (also in its URL-safe alphabet, also unpadded) or percent-encoded.

    Args:
        uri: the URI.
        max_bytes: a larger image is refused before it is decoded.

    Raises:
        RowError: `image_undecodable` for a malformed URI, `image_too_large`, or `image_missing` where it holds nothing.
    """
    head, comma, body = uri.partition(",")
    if not comma:
        raise RowError(ErrorCode.IMAGE_UNDECODABLE, "the data: URI has no comma before its data")
    is_base64 = head.lower().rstrip().endswith(";base64")
    least_bytes = len(body) // 4 * 3 - 2 if is_base64 and "%" not in body else len(body) // 3
    if max_bytes is not None and least_bytes > max_bytes and not _SPACE.search(body, 0, 4096):
        raise _too_large(f"about {least_bytes} bytes", max_bytes)
    try:
        data = _base64(body) if is_base64 else unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise RowError(ErrorCode.IMAGE_UNDECODABLE, f"the data: URI is not valid base64: {error}") from error
    if not data:
        raise RowError(ErrorCode.IMAGE_MISSING, "the data: URI holds no data")
    if max_bytes is not None and len(data) > max_bytes:
        raise _too_large(f"{len(data)} bytes", max_bytes)
    return data


def short_data_uri(uri: str) -> str:
    """Return a `data:` URI for ids and messages: its media type and a hash, never its data."""
    media = _MEDIA_TYPE.match(uri, len(_SCHEME))
    digest = blake2b(uri.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{_SCHEME}{media[0][:64] if media else ''};{digest}"


def _base64(body: str) -> bytes:
    # Percent signs belong to no base64 alphabet: where there are any, the data was quoted once more.
    text = unquote_to_bytes(body).decode("ascii") if "%" in body else body
    text = _SPACE.sub("", text).rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _too_large(size: str, max_bytes: int) -> RowError:
    return RowError(ErrorCode.IMAGE_TOO_LARGE, f"{size}; at most {max_bytes} are allowed")

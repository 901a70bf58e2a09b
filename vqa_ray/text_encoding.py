"""Text as people write it: byte order marks, UTF-16, other encodings by name, lines that end in CR alone."""

from __future__ import annotations

import codecs
import io
from typing import Any, BinaryIO, cast

from vqa_ray.errors import RequestError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ZEROS = {(1, 3): "utf-16-le", (0, 2): "utf-16-be", (1, 2, 3): "utf-32-le", (0, 1, 2): "utf-32-be"}
# Decoders of these want a byte order mark, and take a text without one for that of this machine, or for none at all.
_MARKED = ("utf-16", "utf-32")
_HEAD_BYTES = 4096
_CHUNK_BYTES = 2**16


def encoding_of(head: bytes) -> str:
    """Return the encoding of a text by its first bytes: its byte order mark, the zeros of UTF-16, else UTF-8."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    # The first characters of CSV, JSON and YAML are ASCII: of theirs in UTF-16, every other byte is zero.
    zeros = tuple(at for at, byte in enumerate(head[:4]) if byte == 0) if len(head) >= 4 else ()
    return _ZEROS.get(zeros, "utf-8")


def decode_text(data: bytes, encoding: str | None = None) -> str:
    """Decode a whole file, without its byte order mark.

    UTF-8, UTF-16 and UTF-32 are recognised by the contents: text in another encoding is hardly ever valid UTF-8.

    Args:
        data: the contents.
        encoding: the encoding of text that is in none of these; None where there is no such text.

    Raises:
        UnicodeDecodeError: the text is in none of them.
    """
    try:
        return data.decode(encoding_of(data)).removeprefix("\ufeff")
    except UnicodeDecodeError:
        if encoding is None:
            raise
        return data.decode(encoding)


def text_lines(text: str) -> list[str]:
    """Return the lines of a text, which end in LF, CRLF or CR.

    `str.splitlines` also parts at U+2028, U+0085 and others, which stand within the texts of JSON and vocabularies.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def other_encoding(encoding: str | None) -> str:
    """Return the end of a message about text that cannot be decoded: what to do."""
    return f", nor is it {encoding}" if encoding else "; give another encoding with --encoding, as cp1252"


def check_encoding(name: str | None) -> None:
    """Check that `name` is an encoding of text.

    Raises:
        RequestError: it is not.
    """
    if name is None:
        return
    try:
        known = "x".encode(name).decode(name) == "x"
    except (LookupError, ValueError):
        known = False
    if not known:
        raise RequestError(f"--encoding {name!r} is unknown; common ones are utf-8, utf-16, cp1252, latin-1, shift_jis")


def as_utf8(file: BinaryIO, encoding: str | None = None) -> BinaryIO:
    """Return a stream of text as UTF-8 with LF or CRLF line ends; the stream itself where it is that already.

    Characters that cannot be decoded become bytes that are not UTF-8, which tell in the line they are in.
    """
    peekable: Any = file if hasattr(file, "peek") else io.BufferedReader(cast("io.RawIOBase", file))
    head = bytes(peekable.peek(_HEAD_BYTES)[:_HEAD_BYTES])
    name = encoding or encoding_of(head)
    if (family := codecs.lookup(name).name) in _MARKED:
        found = encoding_of(head)
        name = found if found.startswith(family) else f"{family}-le"
    # The last byte may be the half of CRLF.
    has_cr_alone = b"\r" in head[:-1] and b"\n" not in head
    if not has_cr_alone and codecs.lookup(name).name == "utf-8":
        return cast("BinaryIO", peekable)
    return cast("BinaryIO", io.BufferedReader(_Recoded(peekable, name, has_cr_alone), _CHUNK_BYTES))


class _Recoded(io.RawIOBase):
    """A stream decoded from one encoding and encoded as UTF-8."""

    def __init__(self, file: Any, encoding: str, has_cr_alone: bool) -> None:
        super().__init__()
        self._file = file
        self._errors = "surrogatepass" if codecs.lookup(encoding).name.startswith("utf-") else "surrogateescape"
        if codecs.lookup(encoding).name == "utf-8":
            self._errors = "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._errors)
        self._has_cr_alone = has_cr_alone
        self._pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._pending:
            data = self._file.read(_CHUNK_BYTES)
            text = self._decoder.decode(data, final=not data)
            if self._has_cr_alone:
                text = text.replace("\r", "\n")
            self._pending = text.encode("utf-8", self._errors)
            if not data:
                break
        size = min(len(view), len(self._pending))
        view[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size

"""Text files as lines of bytes, none of which can fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from vqa_ray.text_encoding import as_utf8

MAX_LINE_BYTES = 64 * 2**20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        number: from 1.
        data: the bytes with their line end; of a line that is too long, only the beginning.
        is_too_long: there were more than `MAX_LINE_BYTES`.
    """

    number: int
    data: bytes
    is_too_long: bool = False


def lines_of(file: BinaryIO, max_bytes: int = MAX_LINE_BYTES, encoding: str | None = None) -> Iterator[Line]:
    """Yield the lines of a file in UTF-8, without a byte order mark; see `vqa_ray.text_encoding.as_utf8`."""
    file = as_utf8(file, encoding)
    number = 0
    while data := file.readline(max_bytes + 1):
        number += 1
        is_too_long = len(data) > max_bytes and not data.endswith(b"\n")
        while is_too_long and (rest := file.readline(max_bytes)):
            if rest.endswith(b"\n"):
                break
        yield Line(number, data.removeprefix(_BOM) if number == 1 else data, is_too_long)

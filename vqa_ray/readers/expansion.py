"""Compressed files that expand without end: a few megabytes may stand for as many gigabytes as their maker likes."""

from __future__ import annotations

import io
from typing import Any

# Text compresses to a tenth, tables of repeated rows to a hundredth; 1,000 is the most that gzip can do.
MAX_RATIO = 250
_UNQUESTIONED_BYTES = 256 * 2**20
_PIECE_BYTES = 2**20


class ExpansionError(OSError):
    """A compressed file gives more than any honest one."""


class BoundedExpansion(io.BufferedIOBase):
    """What a decompressor gives, up to `MAX_RATIO` times the bytes that it took (and 256 MiB in any case).

    Args:
        decoder: the binary file that decompresses.
        source: what it reads; its position tells how much was taken.
    """

    def __init__(self, decoder: Any, source: Any) -> None:
        super().__init__()
        self._decoder = decoder
        self._source = source

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._decoder.tell())

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes, or all.

        Raises:
            ExpansionError: the file expands too far.
        """
        left = float("inf") if size is None or size < 0 else size
        pieces = []
        while left > 0 and (piece := self._decoder.read(int(min(left, _PIECE_BYTES)))):
            self._check()
            pieces.append(piece)
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(_PIECE_BYTES if size < 0 else size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line, as `read`."""
        line = bytes(self._decoder.readline(size))
        self._check()
        return line

    def readinto(self, buffer: Any, /) -> int:
        # A piece at a time: of a damaged file, what comes before the damage must not be lost with it.
        data = self._decoder.read1(min(len(buffer), _PIECE_BYTES))
        self._check()
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; forward, by reading."""
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a compressed stream is not known")
        target = offset if whence == io.SEEK_SET else self.tell() + offset
        if target < self.tell():
            return int(self._decoder.seek(target))
        while (left := target - self.tell()) > 0 and self.read(min(left, _PIECE_BYTES)):
            pass
        return self.tell()

    def close(self) -> None:
        if not self.closed:
            self._decoder.close()
        super().close()

    def _check(self) -> None:
        given, taken = self._decoder.tell(), self._source.tell()
        if given > _UNQUESTIONED_BYTES + MAX_RATIO * taken:
            raise ExpansionError(
                f"its first {taken:,} bytes expand to more than {given // 2**20:,} MiB; at most {MAX_RATIO} times are "
                "read: if it is sound, decompress it"
            )

"""Files that remember why a read failed: a broken store must stop the task, broken bytes must not.

Decoders raise the same exceptions (`OSError` above all) for bytes that make no sense and for bytes that did not come.
A `WatchedFile` stands between the store and the decoder, so that the two can be distinguished afterwards.
"""

from __future__ import annotations

import errno
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import pyarrow as pa

from vqa_ray.readers.expansion import BoundedExpansion
from vqa_ray.readers.sniff import compression_of, decompressed
from vqa_ray.storage.filesystem import fsspec_for
from vqa_ray.storage.local_files import open_local
from vqa_ray.storage.uri import scheme_of

BUFFER_BYTES = 2**20
# What decoders raise for bytes that make no sense.
DAMAGE = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowKeyError,
    pa.ArrowIndexError,
    pa.ArrowNotImplementedError,
    pa.lib.ArrowSerializationError,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeError,
    OSError,
)

T = TypeVar("T")


class WatchedFile(io.RawIOBase):
    """A stored file opened for reading, which keeps the exception that the store raised.

    Attributes:
        failure: why the store could not be read, or None while it could.
    """

    def __init__(self, uri: str, *, sequential: bool) -> None:
        """Open `uri`; `sequential` allows reading ahead.

        Raises:
            OSError: it cannot be opened.
            RequestError: an unknown scheme.
        """
        super().__init__()
        filesystem, path = fsspec_for(uri)
        if scheme_of(uri) == "file":
            self._file: Any = io.BufferedReader(open_local(Path(path)))
        else:
            self._file = filesystem.open(path, "rb", **({} if sequential else {"cache_type": "none"}))
        # What the store says of it; a local file may grow, and ends where it ends.
        self._size: int | None = None if scheme_of(uri) == "file" else getattr(self._file, "size", None)
        self.failure: Exception | None = None

    def _watch(self, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return call(*arguments)
        except Exception as error:
            self.failure = error
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._size is None:
            return bytes(self._watch(self._file.read, size))
        left = max(0, self._size - self.tell())
        return self._watch(self._read_whole, left if size < 0 else min(size, left))

    def _read_whole(self, size: int) -> bytes:
        """Read this many bytes; a store that gives fewer would make the file shorter, or its rows damaged."""
        data = b""
        while len(data) < size:
            more = bytes(self._file.read(size - len(data)))
            if not more:
                raise OSError(errno.EIO, f"the store gave {self.tell()} bytes of an object of {self._size}")
            data += more
        return data

    def readall(self) -> bytes:
        return self.read(-1)

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(self._watch(self._file.seek, offset, whence))

    def tell(self) -> int:
        return int(self._watch(self._file.tell))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def watched(uri: str) -> Iterator[WatchedFile]:
    """`uri` opened for random access."""
    with WatchedFile(uri, sequential=False) as file:
        yield file


@contextmanager
def watched_stream(uri: str) -> Iterator[tuple[BinaryIO, WatchedFile]]:
    """`uri` opened for reading from front to back, decompressed where its contents are, whatever its name says."""
    with WatchedFile(uri, sequential=True) as file:
        buffered = io.BufferedReader(file, BUFFER_BYTES)
        # Not buffered once more: a large read of a cut-off file would raise before it gave what is there.
        compression = compression_of(buffered.peek(16))
        stream = decompressed(buffered, compression)
        yield cast("BinaryIO", BoundedExpansion(stream, buffered) if compression else stream), file


def is_stored(file: BinaryIO) -> bool:
    """Check whether a stream of `watched_stream` gives the bytes as they are stored, not decompressed."""
    return isinstance(file, io.BufferedReader) and isinstance(file.raw, WatchedFile)


def until_damage(
    rows: Iterator[tuple[int, T]], file: WatchedFile, last_words: Callable[[int, Exception], T]
) -> Iterator[tuple[int, T]]:
    """`rows` up to where the bytes make no sense, then one row more that says so.

    Args:
        rows: (number, row), numbered from 0 without gaps.
        file: what they are read from; a failure of the store is raised, not turned into a row.
        last_words: (number of rows before, why) → the row that is put in place of the rest.
    """
    number = 0
    try:
        for number, row in rows:
            yield number, row
            number += 1
    except DAMAGE as error:
        if file.failure is not None:
            raise
        yield number, last_words(number, error)

"""Formats by the first bytes of files, where their names do not say them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from vqa_ray.errors import RowError
from vqa_ray.format_names import Format
from vqa_ray.images.formats import identify
from vqa_ray.storage.filesystem import FileEntry, read_head
from vqa_ray.storage.uri import scheme_of

HEAD_BYTES = 64 * 2**10
_AT_ONCE = 16
# Of more objects than this with one suffix, each of which costs a request, a part speaks for all.
_OBJECTS = 512
_SPOKESMEN = 32
_GZIP, _XZ, _ZSTD = b"\x1f\x8b\x08", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_BZIP2_BLOCK = b"1AY&SY"
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def compression_of(head: bytes) -> str:
    """`gzip`, `bzip2`, `xz` or `zstd`; empty for what is not compressed.

    Args:
        head: at least the first 10 bytes of a file.
    """
    if head.startswith(b"BZh") and head[4:10] == _BZIP2_BLOCK:
        return "bzip2"
    return next((name for magic, name in ((_GZIP, "gzip"), (_XZ, "xz"), (_ZSTD, "zstd")) if head.startswith(magic)), "")


def decompressed(file: Any, compression: str) -> Any:
    """Return a binary file that gives what `file` holds compressed; `file` itself where it is not."""
    openers: Mapping[str, Callable[[Any], Any]] = {
        "gzip": lambda source: gzip.GzipFile(fileobj=source),
        "bzip2": bz2.BZ2File,
        "xz": lzma.LZMAFile,
        "zstd": lambda source: io.BufferedReader(_Zstd(source), 2**16),
    }
    return openers[compression](file) if compression else file


class _Zstd(io.RawIOBase):
    """Zstandard, which Python reads from 3.14 on, by Arrow's decoder."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source
        # All of them are kept: one that is let go closes the source.
        self._streams: list[pa.CompressedInputStream] = []
        self._rewind()

    def _rewind(self) -> None:
        self._streams.append(pa.CompressedInputStream(pa.PythonFile(self._source, "r"), "zstd"))
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """By reading on, or once more from the beginning."""
        target = offset if whence == io.SEEK_SET else self._place + offset
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a compressed stream is not known")
        if target < self._place:
            self._source.seek(0)
            self._rewind()
        while self._place < target and (more := self._streams[-1].read(min(target - self._place, 2**20))):
            self._place += len(more)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        data = self._streams[-1].read(len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def sniff(head: bytes) -> Format | None:
    """Return the format that a file's first bytes speak of: parquet, pdf, images, webdataset, jsonl; None for others.

    Args:
        head: up to `HEAD_BYTES`; decompressed here where it is compressed.
    """
    if head.startswith((b"PAR1", b"PARE")):
        return "parquet"
    if head.startswith(b"%PDF-"):
        return "pdf"
    compression = compression_of(head)
    if compression:
        head = _beginning(head, compression)
    elif is_image(head):
        return "images"
    if _is_tar(head):
        return "webdataset"
    return "jsonl" if _is_json_lines(head) else None


def sniff_table(head: bytes) -> Format | None:
    """Guess a format as `sniff` does; text with a comma or a tab in its first line is taken for csv."""
    found = sniff(head)
    if found is None:
        compression = compression_of(head)
        line = (_beginning(head, compression) if compression else head).partition(b"\n")[0]
        return "csv" if (b"," in line or b"\t" in line) and b"\0" not in line else None
    return found


def sniff_files(entries: Iterable[FileEntry], test: Callable[[bytes], Format | None] = sniff) -> dict[str, Format]:
    """URI → format of those files whose contents speak of one. Empty files and such as cannot be read do not.

    Of very many objects in a store, the first and a few others of each suffix are looked at and speak for the rest.
    """
    groups: dict[str, list[FileEntry]] = {}
    for entry in entries:
        if entry.size_bytes:
            groups.setdefault(entry.uri.rpartition("/")[2].rpartition(".")[2].lower(), []).append(entry)
    found: dict[str, Format] = {}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sniff") as pool:
        for group in groups.values():
            is_sampled = len(group) > _OBJECTS and scheme_of(group[0].uri) != "file"
            looked_at = group[:: len(group) // _SPOKESMEN] if is_sampled else group
            kinds = dict(zip(looked_at, pool.map(lambda entry: _look(entry, test), looked_at), strict=True))
            said = [kind for kind in kinds.values() if kind is not None]
            common = Counter(said).most_common(1)[0][0] if is_sampled and said else None
            for entry in group:
                kind = kinds.get(entry, common)
                if kind is not None:
                    found[entry.uri] = kind
    return found


def _look(entry: FileEntry, test: Callable[[bytes], Format | None]) -> Format | None:
    try:
        return test(read_head(entry.uri, HEAD_BYTES))
    except OSError:
        return None


def _beginning(head: bytes, compression: str) -> bytes:
    data = bytearray()
    try:
        with decompressed(io.BytesIO(head), compression) as file:
            while len(data) < HEAD_BYTES and (more := file.read(2**12)):
                data += more
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        # The head ends in the middle.
        return bytes(data)
    return bytes(data)


def is_image(head: bytes) -> bool:
    """Check whether a file's first bytes are those of an image."""
    try:
        name = identify(head)
    except RowError:
        return False
    # Text may begin with the two letters of a bitmap; the size of its second header tells them apart.
    return name != "BMP" or int.from_bytes(head[14:18], "little") in _BMP_HEADERS


def _is_tar(head: bytes) -> bool:
    try:
        return bool(tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape").name)
    except (tarfile.HeaderError, ValueError):
        return False


def _is_json_lines(head: bytes) -> bool:
    """Check whether the first line that is not blank is a JSON object by itself."""
    line = next((line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()), b"")
    if not line.lstrip().startswith(b"{"):
        return False
    if len(head) >= HEAD_BYTES and head.rstrip(b"\n").endswith(line):
        # A line that goes on beyond what was read, as those with embedded data do.
        return True
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False

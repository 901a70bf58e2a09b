"""The files of a cache: a marker of the format, and per context a directory of write-once Parquet files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from pyarrow import parquet as pq

from vqa_ray.cache.entries import FILE
from vqa_ray.errors import RequestError
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import FileEntry, fsspec_for, list_files, read_bytes
from vqa_ray.storage.foreign_files import refuse_foreign_files
from vqa_ray.storage.store_errors import refused
from vqa_ray.storage.uri import join

FORMAT = 1
MARKER = "answer_cache.json"
SUFFIX = ".parquet"
# Of files in a run directory, where readers take all Parquet files for rows.
PRIVATE_SUFFIX = ".pq"
# An image's answers, some tens of rows, are read with this many others.
GROUP_ROWS = 2048


def open_directory(uri: str) -> None:
    """Check that a directory is a cache of this format; an empty or new one becomes one.

    Raises:
        RequestError: it holds something else, or cannot be read or written.
    """
    marker = join(uri, MARKER)
    with refused(f"--cache {uri}: cannot be read or written"):
        try:
            _check_marker(uri, read_bytes(marker, 4096))
        except FileNotFoundError:
            refuse_foreign_files(f"--cache {uri}", [entry.uri for entry in _listed(uri)], "an answer cache")
            write_bytes_atomic(marker, json.dumps({"format": FORMAT, "of": "answers of vqa-ray"}).encode())


def _check_marker(uri: str, data: bytes) -> None:
    try:
        found = json.loads(data)["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"--cache {uri}: {MARKER} is damaged; wanted another directory, or a new one") from error
    if found != FORMAT:
        raise RequestError(
            f"--cache {uri}: format {found!r} of another version of vqa-ray; this one reads and writes {FORMAT}; "
            "wanted another directory, or a new one"
        )


def entry_files(uri: str) -> list[FileEntry]:
    """List the files of entries below a cache or the directory of a context; none where it does not exist."""
    return [entry for entry in _listed(uri) if entry.uri.endswith((SUFFIX, PRIVATE_SUFFIX))]


def _listed(uri: str) -> list[FileEntry]:
    filesystem, path = fsspec_for(uri)
    try:
        return list_files(uri) if filesystem.exists(path) else []
    except RequestError:
        # Gone since it was seen; a bucket that does not exist is told by the marker that cannot be written.
        if filesystem.exists(path):
            raise
        return []


def write_entries(uri: str, context: str, table: pa.Table, suffix: str = SUFFIX) -> None:
    """Add a file of entries, under a name that no other has.

    Args:
        uri: of the cache.
        context: see `vqa_ray.cache.keys.context_key`.
        table: of `FILE`, sorted by key.
        suffix: of the name.
    """
    sink = pa.BufferOutputStream()
    compression = {name: "none" if name in ("key", "check") else "zstd" for name in FILE.names}
    pq.write_table(
        table,
        sink,
        row_group_size=GROUP_ROWS,
        compression=compression,
        use_dictionary=["value", "seconds", "created"],
        write_statistics=["key", "created"],
    )
    write_bytes_atomic(join(uri, context, f"{uuid.uuid4().hex}{suffix}"), sink.getvalue().to_pybytes())


@contextmanager
def opened(uri: str) -> Iterator[Any]:
    """Open a file for reading parts of it, without reading ahead."""
    filesystem, path = fsspec_for(uri)
    options = {} if isinstance(filesystem, LocalFileSystem) else {"cache_type": "none"}
    with filesystem.open(path, "rb", **options) as file:
        yield file

"""Files that are written whole or not at all, in the place of an older one or only where there is none."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from pyarrow import parquet

from vqa_ray.storage.filesystem import fsspec_for, read_bytes

# In messages of object stores: another object is there.
_PRECONDITION_FAILED = ("PreconditionFailed", "pre-conditions", "412")


def write_bytes_atomic(uri: str, data: bytes) -> None:
    """Write one file so that a reader finds all of it or nothing; an older one is replaced.

    Local: a temporary file beside it, then a rename; missing directories are made. Object stores: one PUT.
    """
    filesystem, path = fsspec_for(uri)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, data)
        return
    with _written(Path(path), data) as temporary:
        temporary.replace(path)


def write_table_atomic(uri: str, table: pa.Table, compression: str | dict[str, str] = "zstd") -> None:
    """Write a Parquet file as `write_bytes_atomic` does.

    Args:
        uri: where to.
        table: the rows.
        compression: of all columns, or column → its own.
    """
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression=compression)
    write_bytes_atomic(uri, sink.getvalue().to_pybytes())


def create(uri: str, data: bytes) -> bool:
    """Write one file unless there is one by that name: what makes publishing exclusive.

    Local: a temporary file, then a hard link. S3: one PUT with `If-None-Match`. Other stores: as fsspec does it.

    Returns:
        Whether it was written. Of several processes that create one name at once, one gets True.

    Raises:
        OSError: as the store says.
    """
    filesystem, path = fsspec_for(uri)
    if isinstance(filesystem, LocalFileSystem):
        # That of a directory in which it cannot be written says nothing of the file: it is raised.
        with _written(Path(path), data) as temporary:
            try:
                Path(path).hardlink_to(temporary)
            except FileExistsError:
                return False
        return True
    try:
        filesystem.pipe_file(path, data, mode="create")
    except OSError as error:
        if not _is_there(error):
            raise
        # A request that was repeated after its answer was lost meets what it wrote itself.
        return read_bytes(uri) == data
    return True


@contextmanager
def open_atomic(uri: str) -> Iterator[IO[bytes]]:
    """Open a file for writing in parts, so that a reader finds all of it or the older one; after an error, the older.

    Local: a hidden file beside it, then a rename; one that a kill leaves is written over by the next. Object stores: an
    upload in parts, which is given up after an error.
    """
    filesystem, path = fsspec_for(uri)
    if not isinstance(filesystem, LocalFileSystem):
        sink = filesystem.open(path, "wb")
        try:
            yield sink
        except BaseException:
            sink.discard()
            # Closing, also by the garbage collector, would upload what there is.
            sink.closed = True
            raise
        sink.close()
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _written(target: Path, data: bytes) -> Iterator[Path]:
    """Yield a temporary file beside `target` that holds `data` on disk; missing directories are made."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        reason = "a part of the path is a file, or a link that leads nowhere"
        raise NotADirectoryError(errno.ENOTDIR, reason, str(target.parent)) from error
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _is_there(error: OSError) -> bool:
    return isinstance(error, FileExistsError) or any(mark in str(error) for mark in _PRECONDITION_FAILED)

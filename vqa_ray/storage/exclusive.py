"""Creating a file only where none is: what makes publishing exclusive, on disks and on object stores."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from vqa_ray.storage.filesystem import fsspec_for, read_bytes

# In messages of object stores: another object is there.
_PRECONDITION_FAILED = ("PreconditionFailed", "pre-conditions", "412")


def create(uri: str, data: bytes) -> bool:
    """Write one file, whole or not at all, unless there is one by that name.

    Local: a temporary file, then a hard link. S3: one PUT with `If-None-Match`. Other stores: as fsspec does it.

    Returns:
        Whether it was written. Of several that create the same name at once, one is told so.

    Raises:
        OSError: as the store says.
    """
    filesystem, path = fsspec_for(uri)
    if isinstance(filesystem, LocalFileSystem):
        return _create_local(Path(path), data)
    try:
        filesystem.pipe_file(path, data, mode="create")
    except OSError as error:
        if not _is_there(error):
            raise
        # A request that was repeated after its answer was lost meets what it wrote itself.
        return read_bytes(uri) == data
    return True


def _create_local(target: Path, data: bytes) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        target.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _is_there(error: OSError) -> bool:
    return isinstance(error, FileExistsError) or any(mark in str(error) for mark in _PRECONDITION_FAILED)

"""Digests that show whether a file is still the same, without reading all of a large one."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from vqa_ray.storage.filesystem import filesystem_for

# A file of up to three of these is read whole.
SAMPLE_BYTES = 256 * 2**10


def content_digest(uri: str) -> bytes | None:
    """Return a digest over the size of a file and its beginning, middle and end; None where it cannot be read."""
    try:
        filesystem, path = filesystem_for(uri)
        with filesystem.open_input_file(path) as file:
            return _digest(file, file.size())
    except OSError:
        return None


def has_grown(uri: str, size: int, digest: bytes) -> bool:
    """Check whether whole lines were added to the end of a text file, and nothing else, as far as its samples tell.

    Args:
        uri: the file, larger than before.
        size: bytes before, and `content_digest` then.
        digest: bytes before, and `content_digest` then.
    """
    if not size:
        return False
    try:
        filesystem, path = filesystem_for(uri)
        with filesystem.open_input_file(path) as file:
            file.seek(size - 1)
            return b"\n" in file.read(2) and _digest(file, size) == digest
    except OSError:
        return False


def _digest(file: pa.NativeFile, size: int) -> bytes:
    """Digest of samples of the first `size` bytes."""
    digest = hashlib.sha256(str(size).encode())
    starts = (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES) if size > 3 * SAMPLE_BYTES else (0,)
    for start in starts:
        file.seek(start)
        digest.update(file.read(SAMPLE_BYTES if len(starts) > 1 else size))
    return digest.digest()[:16]

"""The directory of a sample: beside the output of its command, and gone at the end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from vqa_ray.storage.delete import delete_directory
from vqa_ray.storage.filesystem import exists, filesystem_for


@contextmanager
def sample_directory(output: str) -> Iterator[str]:
    """Name a new directory for a sample; delete it after the block, with those above it that were missing before."""
    directory = beside(output)
    filesystem, path = filesystem_for(directory)
    missing = []
    if isinstance(filesystem, fs.LocalFileSystem):
        missing = [each for each in Path(path).absolute().parents if not each.exists()]
    try:
        yield directory
    finally:
        if exists(directory):
            delete_directory(directory)
        for each in missing:
            # Another process may have used it meanwhile.
            if each.exists() and not any(each.iterdir()):
                each.rmdir()


def beside(output: str) -> str:
    """Name a directory beside an output that nothing else has; within it where the output is a whole bucket."""
    name, whole = f"plan-{uuid.uuid4().hex[:8]}", output.rstrip("/")
    scheme, _, path = whole.rpartition("://")
    return f"{whole}/{name}" if not whole or (scheme and "/" not in path) else f"{whole}-{name}"

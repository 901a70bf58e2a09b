"""The files of a local directory. fsspec's walk leaves links out, and directories that may not be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HIDDEN = ("_", ".")


class LocalFile(NamedTuple):
    """A regular file, or a link that leads nowhere, which has no bytes and no time.

    Attributes:
        path: below the directory that was asked for.
        size_bytes: its size.
        modified: when it was last written, in seconds since 1970.
    """

    path: str
    size_bytes: int
    modified: float | None


def local_files(path: str) -> Iterator[LocalFile]:
    """The files below a directory, in any order, but for hidden names; a file gives itself.

    Links are followed, but for one that leads back to a directory above it.

    Raises:
        OSError: a directory may not be read.
    """
    if Path(path).is_dir():
        yield from _walk(path, (os.path.realpath(path),))
    elif Path(path).is_file():
        yield _file(path, Path(path).stat())


def _walk(directory: str, above: tuple[str, ...]) -> Iterator[LocalFile]:
    """
    Args:
        directory: to look into.
        above: the real paths of the directories that led here, its own included.
    """
    with os.scandir(directory) as found:
        for entry in found:
            if entry.name.startswith(HIDDEN):
                continue
            try:
                if entry.is_dir():
                    real = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
                    if real not in above:
                        yield from _walk(entry.path, (*above, real))
                elif entry.is_file():
                    yield _file(entry.path, entry.stat())
                elif entry.is_symlink() and not Path(entry.path).exists():
                    yield LocalFile(entry.path, 0, None)
            except FileNotFoundError:
                # It has gone meanwhile.
                continue


def _file(path: str, status: os.stat_result) -> LocalFile:
    return LocalFile(path, status.st_size, status.st_mtime)

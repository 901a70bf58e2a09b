"""The local places that the references of an input may lead to, links included."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.storage.filesystem import fsspec_for
from vqa_ray.storage.uri import redacted_uri, scheme_of

# A directory that holds them does not cover them: their files are the kernel's.
_SYSTEM = ("/proc", "/sys", "/dev")
# Characters of a path in a message.
_SHOWN = 100


class LocalPlaces:
    """Directories below which local files may be read.

    Args:
        roots: directories; those that are not local do not count.
    """

    def __init__(self, roots: Iterable[str]) -> None:
        local = (os.path.realpath(fsspec_for(root)[1]) for root in roots if _is_local(root))
        self._roots = tuple(dict.fromkeys(local))

    def check(self, uri: str) -> None:
        """Refuse a local file elsewhere.

        Raises:
            RowError: the path, or the file that links on it lead to, lies below none of the directories.
        """
        if scheme_of(uri) != "file":
            return
        try:
            path = fsspec_for(uri)[1]
            real = _real_path(path)
        except (RequestError, ValueError) as error:
            raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not a path: {error}") from error
        if not any(_covers(root, real) for root in self._roots):
            there = "lies" if real == os.path.normpath(path) else f"leads to {_ending(real)},"
            raise RowError(
                ErrorCode.IMAGE_FETCH_FAILED,
                f"not allowed: {_ending(redacted_uri(uri))} {there} outside of the input's directory; "
                "--allow-local DIR allows another",
            )


def _ending(path: str) -> str:
    """Return a path whose beginning is left out where it is long, so that the message about it is not cut."""
    return path if len(path) <= _SHOWN else f"…{path[1 - _SHOWN :]}"


def _is_local(uri: str) -> bool:
    return scheme_of(uri) == "file" and uri.startswith(("/", "file:"))


def _covers(root: str, path: str) -> bool:
    return _is_below(path, root) and all(_is_below(root, system) for system in _SYSTEM if _is_below(path, system))


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _real_path(path: str) -> str:
    """Return a path without links; the directories of many paths are looked at once."""
    directory, name = os.path.split(path)
    if name in ("", ".", ".."):
        return os.path.realpath(path)
    found = os.path.join(_real_directory(directory), name)  # noqa: PTH118  Ten times as fast as Path.
    return os.path.realpath(found) if os.path.islink(found) else found  # noqa: PTH114


@lru_cache(maxsize=4096)
def _real_directory(directory: str) -> str:
    return os.path.realpath(directory)

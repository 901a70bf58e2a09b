"""One spelling for one place: how records, locks and comparisons name inputs and outputs, however they are written."""

from __future__ import annotations

import os
import posixpath

from vqa_ray.storage.filesystem import fsspec_for
from vqa_ray.storage.uri import scheme_of


def canonical_uri(uri: str) -> str:
    """Spell a place in the one way that `./x`, `x`, `x/`, `a//x`, `file:///…/x` and a path through a link share.

    Patterns and places that do not exist are fine. In an object store, doubled slashes are part of a key and stay.

    Raises:
        RequestError: an unknown scheme.
    """
    filesystem, path = fsspec_for(uri)
    if scheme_of(uri) == "file":
        return os.path.realpath(path)
    return str(filesystem.unstrip_protocol(path)).rstrip("/")


def is_same_place(one: str, other: str) -> bool:
    """Check whether two URIs name one place."""
    return one == other or canonical_uri(one) == canonical_uri(other)


def path_below(uri: str, root: str) -> str | None:
    """Return the path from one place to another that lies below it; None where it does not.

    Args:
        uri: the place that may lie below.
        root: the directory or prefix.
    """
    inner, outer = canonical_uri(uri), canonical_uri(root).rstrip("/") + "/"
    return posixpath.normpath(inner.removeprefix(outer)) if inner.startswith(outer) else None

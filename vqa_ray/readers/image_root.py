"""Image references below one directory or prefix, `--image-root`, and never out of it."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.storage.uri import redacted_uri, scheme_of


def below(root: str, written: str) -> tuple[str, str]:
    """Locate an image reference below `root`.

    Args:
        root: absolute, as listings spell it.
        written: relative to `root`, or absolute and below it.

    Returns:
        The absolute URI, and its path below `root`.

    Raises:
        RowError: the reference leads out of `root`.
    """
    prefix = root.rstrip("/") + "/"
    found = _absolute(root, written)
    if not found.startswith(prefix) or found == prefix:
        reason = f"not allowed: {redacted_uri(written)} leads out of --image-root {redacted_uri(root)}"
        raise RowError(ErrorCode.IMAGE_FETCH_FAILED, reason)
    return found, found.removeprefix(prefix)


def _absolute(root: str, written: str) -> str:
    if "://" in written:
        scheme, path = scheme_of(written), written.partition("://")[2]
        if scheme == "file":
            return posixpath.normpath(unquote(path).removeprefix("localhost"))
        return f"{'s3' if scheme == 's3a' else scheme}://{posixpath.normpath(path)}"
    if written.startswith("/"):
        return posixpath.normpath(written)
    scheme, mark, top = root.rpartition("://")
    return f"{scheme}{mark}{posixpath.normpath(posixpath.join(top, written))}"

"""The files among the objects of a store, as fsspec lists them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from vqa_ray.storage.local_files import HIDDEN


class ObjectFile(NamedTuple):
    """One object that is a file.

    Attributes:
        path: within the file system.
        size_bytes: its size.
        modified: when it was last written (UTC), or None when the store does not say.
        etag: what the store says of its contents, or None.
    """

    path: str
    size_bytes: int
    modified: datetime | None
    etag: str | None


def object_files(found: Mapping[str, Mapping[str, Any]], root: str, *, hidden: bool) -> Iterator[ObjectFile]:
    """Yield the files among the objects below a prefix, in their order.

    Objects that only stand for a directory are left out: made by hand (a slash at the end), by Hadoop (`_$folder$`),
    or empty with other objects below them.

    Args:
        found: path → what fsspec's `find` tells of it.
        root: the prefix; an object of this very path is a file whatever its name.
        hidden: whether objects below a name that begins with `_` or `.` are given too.
    """
    prefix = root.rstrip("/") + "/"
    directories = {path.rpartition("/")[0] for path in found}
    for path, info in found.items():
        if info.get("type") != "file" or path.endswith(("/", "_$folder$")):
            continue
        if not info["size"] and path in directories:
            continue
        if hidden or path == root or not _is_hidden(path.removeprefix(prefix)):
            etag = info.get("ETag") or info.get("etag")
            yield ObjectFile(path, int(info["size"]), _modified(info), str(etag).strip('"') if etag else None)


def _is_hidden(relative: str) -> bool:
    return any(name.startswith(HIDDEN) for name in relative.split("/"))


def _modified(info: Mapping[str, Any]) -> datetime | None:
    value = next((info[name] for name in ("LastModified", "mtime", "updated", "created") if info.get(name)), None)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return None

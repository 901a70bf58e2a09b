"""The fragments of a Lance dataset as files that are never rewritten.

A version of a dataset lists its fragments. Their data files are never rewritten; deletions and new columns are files
beside them, which only the manifest of a version tells. So the name of a fragment here ends in a digest of all that, a
fragment that changes has another name, and it is read through any version in which that name is found.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

from vqa_ray.errors import RunError
from vqa_ray.storage.filesystem import FileEntry
from vqa_ray.storage.lake_storage import location, storage_options

_NAME = "fragment-"
_OPENED = 4


def open_version(root: str, version: int | None) -> Any:
    """Open a dataset at a version; the latest for None.

    Raises:
        OSError, ValueError, RuntimeError: raised by Lance if it cannot be opened.
    """
    import lance

    return lance.dataset(location(root), version=version, storage_options=storage_options(root))


def fragments(root: str, dataset: Any) -> list[FileEntry]:
    """List the fragments of an opened version."""
    names = {field.id(): field.name() for field in dataset.lance_schema.fields()}
    return [_entry(root, fragment.metadata, names) for fragment in dataset.get_fragments()]


def fragment_of(uri: str, version: int) -> Any:
    """Open a fragment as it was when it was listed.

    Args:
        uri: one that `fragments` gives.
        version: of the dataset. Where it was cleaned up, the latest is opened.

    Raises:
        RunError: the version was cleaned up, and the fragment has changed since or is gone.
        OSError, ValueError, RuntimeError: raised by Lance if it cannot be opened.
    """
    root, _, name = uri.rpartition("/")
    try:
        return _known(root, version).get_fragment(_number(name))
    except (ValueError, FileNotFoundError) as error:
        if not is_missing(error):
            raise
    latest = open_version(root, None)
    if any(entry.uri == uri for entry in fragments(root, latest)):
        return latest.get_fragment(_number(name))
    raise RunError(f"{uri}: version {version} of the dataset was cleaned up, and the fragment has changed since")


def is_missing(error: Exception) -> bool:
    """Check whether Lance says that a version or a file is not there."""
    return isinstance(error, FileNotFoundError) or "not found" in str(error).lower()


@lru_cache(_OPENED)
def _known(root: str, version: int) -> Any:
    return open_version(root, version)


def _entry(root: str, metadata: Any, names: dict[int, str]) -> FileEntry:
    told = metadata.to_json()
    fields = sorted({number for file in told["files"] for number in file["fields"]})
    held = [
        [[file["path"], file["base_id"], file["fields"]] for file in told["files"]],
        told["overlays"],
        told["deletion_file"],
        [(number, names[number]) for number in fields if number in names],
    ]
    digest = hashlib.sha256(json.dumps(held).encode()).hexdigest()[:12]
    stored = sum(file["file_size_bytes"] or 0 for file in told["files"])
    # What its rows take, about; an empty file would be left out.
    size = max(1, stored * metadata.num_rows // max(1, metadata.physical_rows))
    return FileEntry(f"{root.rstrip('/')}/{_NAME}{metadata.id:06d}-{digest}", size, None)


def _number(name: str) -> int:
    return int(name.removeprefix(_NAME).partition("-")[0])

"""Remove files and directories, which may be gone already."""

from __future__ import annotations

from vqa_ray.storage.filesystem import filesystem_for


def delete(uri: str) -> None:
    """Remove one file; one that is gone already is fine."""
    filesystem, path = filesystem_for(uri)
    try:
        filesystem.delete_file(path)
    except FileNotFoundError:
        return


def delete_directory(uri: str) -> None:
    """Remove a directory or prefix with all that is below; one that is gone already is fine."""
    filesystem, path = filesystem_for(uri)
    try:
        filesystem.delete_dir(path)
    except FileNotFoundError:
        return

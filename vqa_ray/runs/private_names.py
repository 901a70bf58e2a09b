"""A filesystem whose Parquet files end in another suffix, so that no reader's `**/*.parquet` takes them for rows.

Ray Data names the files of its checkpoint, and rows of a retry are written before they take their places; both are
Parquet, and neither are rows of the output.
"""

from __future__ import annotations

from typing import Any

from pyarrow import fs

PRIVATE_SUFFIX = ".pq"
_PARQUET = ".parquet"


def private(path: str) -> str:
    """Return the name under which a Parquet file is kept from readers."""
    return path.removesuffix(_PARQUET) + PRIVATE_SUFFIX if path.endswith(_PARQUET) else path


def superseded(path: str) -> str:
    """Return the name of a Parquet file that is none of the current rows: `_NAME.pq`.

    pandas and pyarrow read every file of a directory but those that begin with `_` or `.`.
    """
    folder, slash, name = private(path).rpartition("/")
    return f"{folder}{slash}_{name.removeprefix('_')}"


def public(path: str) -> str:
    """Return the name of which `private` or `superseded` made `path`."""
    if not path.endswith(PRIVATE_SUFFIX):
        return path
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.removeprefix('_').removesuffix(PRIVATE_SUFFIX)}{_PARQUET}"


def with_private_names(filesystem: fs.FileSystem) -> fs.PyFileSystem:
    """Return the same filesystem for whoever writes and reads `NAME.parquet`, which is stored as `NAME.pq`."""
    return fs.PyFileSystem(PrivateNames(filesystem))


class PrivateNames(fs.FileSystemHandler):  # type: ignore[misc]
    """See `with_private_names`."""

    def __init__(self, filesystem: fs.FileSystem) -> None:
        self._inner = filesystem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateNames) and self._inner == other._inner

    def __hash__(self) -> int:
        return hash(self._inner.type_name)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def get_type_name(self) -> str:
        """See `FileSystemHandler`, as for all below."""
        return f"private+{self._inner.type_name}"

    def normalize_path(self, path: str) -> str:
        return str(self._inner.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [_named(info, path) for path, info in zip(paths, self._inner.get_file_info(_stored(paths)), strict=True)]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        return [_named(info, public(info.path)) for info in self._inner.get_file_info(selector)]

    def create_dir(self, path: str, recursive: bool) -> None:
        self._inner.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._inner.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self._inner.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("a root is never emptied")

    def delete_file(self, path: str) -> None:
        self._inner.delete_file(private(path))

    def move(self, src: str, dest: str) -> None:
        self._inner.move(private(src), private(dest))

    def copy_file(self, src: str, dest: str) -> None:
        self._inner.copy_file(private(src), private(dest))

    def open_input_stream(self, path: str) -> Any:
        return self._inner.open_input_stream(private(path), compression=None)

    def open_input_file(self, path: str) -> Any:
        return self._inner.open_input_file(private(path))

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        return self._inner.open_output_stream(private(path), compression=None, metadata=metadata)

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        return self._inner.open_append_stream(private(path), compression=None, metadata=metadata)


def _stored(paths: list[str]) -> list[str]:
    return [private(path) for path in paths]


def _named(info: fs.FileInfo, path: str) -> fs.FileInfo:
    return fs.FileInfo(path, type=info.type, size=info.size if info.is_file else None, mtime=info.mtime)

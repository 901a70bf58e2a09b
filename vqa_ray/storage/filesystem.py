"""One URI → filesystem: local paths, file://, s3://, gs://, memory:// and whatever else fsspec knows.

Every place of the project that reads or writes bytes goes through here, so that credentials, `AWS_ENDPOINT_URL`,
caching and error messages are the same for input, images, output, checkpoints and models.
"""

from __future__ import annotations

import inspect
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs as pafs

from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage.local_files import (
    find_local,
    is_utf8,
    local_files,
    normal_forms,
    open_local,
    path_as_text,
    read_local,
    too_big,
)
from vqa_ray.storage.object_files import object_files
from vqa_ray.storage.store_errors import no_such_bucket
from vqa_ray.storage.uri import SCHEME, redacted_uri, scheme_of

# `pathlib` makes one slash of two; such a path must not become a local folder named `s3:`.
_ONE_SLASH = re.compile(r"^(s3a?|gs|gcs|az|abfss?|hf|hdfs|memory|https?|file):/(?!/)", re.IGNORECASE)
# Drivers of fsspec that hold no files of their own: they wrap other places, archives or a program's memory of them.
_WRAPPERS = ("asynclocal", "asyncwrapper", "data", "dir", "generic", "local", "tar", "vqa-ray-s3", "zip")
_BUCKET_STORES = ("s3", "s3a", "gs", "gcs")
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}
# fsspec reads ahead by a block whenever a reader moves; its default for S3 (50 MB) would fetch far more than is needed.
_S3_BLOCK_BYTES = 8 * 2**20
# The protocol of `CheckedS3FileSystem` in fsspec's registry, which imports it, and s3fs, only when it is used.
_CHECKED_S3 = "vqa-ray-s3"
fsspec.register_implementation(_CHECKED_S3, "vqa_ray.storage.s3.CheckedS3FileSystem", errtxt="install s3fs")
_S3_CONFIG = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": 64,
    # See `CheckedS3FileSystem`, which tries again.
    "retries": {"total_max_attempts": 1},
}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One stored file.

    Attributes:
        uri: where it is, in the form that the other functions here take.
        size_bytes: its size.
        modified: when it was last written (UTC), or None when the store does not say.
        etag: what an object store says of its contents; None elsewhere.
    """

    uri: str
    size_bytes: int
    modified: datetime | None
    etag: str | None = None


_BY_URI = attrgetter("uri")


def filesystem_for(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of `uri` and the path within it. Both pickle, without credentials in them.

    S3 honours `AWS_ENDPOINT_URL` and the usual credential chain.

    Raises:
        RequestError: an unknown scheme, or one whose package is not installed.
    """
    if scheme_of(uri) == "file":
        path = _local_path(uri)
        if not is_utf8(path):
            raise RequestError(f"{path_as_text(uri)}: the path is not UTF-8, which Arrow cannot open; choose another")
        return pafs.LocalFileSystem(), path
    filesystem, path = fsspec_for(uri)
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path


def fsspec_for(uri: str) -> tuple[Any, str]:
    """Return the fsspec filesystem and path of `uri`, with the errors of `filesystem_for`: for single requests."""
    scheme = scheme_of(uri)
    if scheme == "file":
        return LocalFileSystem(), _local_path(uri)
    uri = scheme + uri[len(scheme) :]
    if ":" in uri.partition("://")[2].partition("/")[0].rpartition("@")[0]:
        raise RequestError(
            f"{redacted_uri(uri)}: holds a name and a password, which a run would record; the credentials of a store "
            "are read from the environment and its own files"
        )
    if scheme in ("http", "https"):
        raise RequestError(
            f"{redacted_uri(uri)}: {scheme}:// is for image references only (with --allow-http), not for files"
        )
    options: dict[str, Any] = {"use_listings_cache": False} if scheme != "memory" else {}
    if scheme in ("s3", "s3a"):
        # Given as an argument, the endpoint travels in pickles and tells apart fsspec's cached instances.
        options["endpoint_url"] = s3_endpoint()
        options["default_block_size"] = _S3_BLOCK_BYTES
        options["config_kwargs"] = _S3_CONFIG
    if not uri.partition("://")[2].partition("?")[0].strip("/") or (scheme in _BUCKET_STORES and ":///" in uri):
        raise RequestError(f"{redacted_uri(uri)}: names no bucket or directory; wanted is {scheme}://NAME/…")
    protocol = _CHECKED_S3 if scheme in ("s3", "s3a") else scheme
    try:
        if scheme in _WRAPPERS:
            raise ValueError(f"{scheme} wraps other places")
        needed = list(inspect.signature(fsspec.get_filesystem_class(protocol).__init__).parameters.values())[1:]
        if any(each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD for each in needed):
            raise ValueError("it needs more than a URI, as ftp and github do")
        filesystem = fsspec.filesystem(protocol, **options)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        fix = f"pip install {package}" if package else str(error)
        raise RequestError(f"{uri}: reading {scheme}:// needs a package that is not installed: {fix}") from error
    except ValueError as error:
        raise RequestError(f"{uri}: unknown scheme {scheme!r}; known are paths, file://, s3://, gs://") from error
    return filesystem, str(filesystem._strip_protocol(uri))


def s3_endpoint() -> str | None:
    """Return the endpoint of S3 that the environment names; None for that of Amazon."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def exists(uri: str) -> bool:
    """Check whether a file or a directory (for object stores: a prefix with objects) is there."""
    filesystem, path = fsspec_for(uri)
    return bool(filesystem.exists(path))


def list_files(uri: str, *, hidden: bool = False) -> list[FileEntry]:
    """Return the files under `uri`, recursively, sorted by path; a file gives itself.

    Local links are followed: one that leads nowhere is a file that cannot be read, and one that leads back to a
    directory above it is left out. Local names are as `local_files.name_as_text` writes them.

    Args:
        uri: where to look.
        hidden: whether names that begin with `_` or `.` below `uri` are given too, with all that is under them.

    Raises:
        RequestError: nothing is there.
    """
    filesystem, root = fsspec_for(uri)
    if isinstance(filesystem, LocalFileSystem):
        if not os.path.lexists(root):
            raise RequestError(f"{path_as_text(uri)}: no such file, directory or prefix")
        local = (
            FileEntry(path, size, None if at is None else datetime.fromtimestamp(at, UTC))
            for path, size, at in local_files(root.rstrip("/") or "/", hidden=hidden)
        )
        return sorted(local, key=_BY_URI)
    try:
        objects: dict[str, dict[str, Any]] = filesystem.find(root, detail=True)
        missing = not objects and not filesystem.exists(root)
    except FileNotFoundError:
        missing = True
    except RequestError:
        raise
    except (ValueError, NotImplementedError) as error:
        # Of a name that the store cannot have, as hf://datasets.
        raise RequestError(
            f"{redacted_uri(uri)}: cannot be listed: {one_line(error, 200) or 'by its driver'}"
        ) from error
    if missing:
        bucket = root.partition("/")[0]
        if scheme_of(uri) in _BUCKET_STORES and not filesystem.exists(bucket):
            raise no_such_bucket(uri)
        raise RequestError(f"{uri}: no such file, directory or prefix")
    entries = (
        FileEntry(str(filesystem.unstrip_protocol(path)), size, at, etag)
        for path, size, at, etag in object_files(objects, root, hidden=hidden)
    )
    return sorted(entries, key=_BY_URI)


def read_bytes(uri: str, max_bytes: int | None = None) -> bytes:
    """Return the contents of one file.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: with errno `EFBIG` when there are more than `max_bytes` bytes (at most one more is fetched);
            with `EINVAL` when it is a local pipe, socket or device; else as the store says.
        RequestError: an unknown scheme.
    """
    filesystem, path = fsspec_for(uri)
    if isinstance(filesystem, LocalFileSystem):
        return _checked_size(read_local(Path(path), max_bytes), max_bytes, uri)
    try:
        data = read_bounded(filesystem, path, max_bytes)
    except FileNotFoundError:
        # The same name in the other Unicode normal form: uploads from macOS keep é as two characters.
        other = next((form for form in normal_forms(path) if form != path and filesystem.exists(form)), None)
        if other is None:
            raise
        data = read_bounded(filesystem, other, max_bytes)
    return _checked_size(data, max_bytes, uri)


def read_head(uri: str, size: int) -> bytes:
    """Return the first bytes of a file: `size` of them, or all that it has.

    Raises:
        OSError: as the store or the system says; with `EINVAL` when it is a local pipe, socket or device.
    """
    filesystem, path = fsspec_for(uri)
    if isinstance(filesystem, LocalFileSystem):
        with open_local(Path(path)) as file:
            return file.read(size)
    return read_bounded(filesystem, path, size - 1)


def read_bounded(filesystem: Any, path: str, max_bytes: int | None) -> bytes:
    """Return one object of a fsspec filesystem, or its first `max_bytes + 1` bytes, by a single ranged request.

    The answer to a ranged request tells the length that its body must have. A large object read in several requests
    at once, as s3fs reads it without a range, has zeros where a body was cut short.
    """
    try:
        return bytes(filesystem.cat_file(path, start=0, end=None if max_bytes is None else max_bytes + 1))
    except OSError as error:
        # A range of an empty object cannot be satisfied (HTTP 416), and each store words that its own way.
        wording = str(error).lower()
        if ("range" not in wording and "416" not in wording) or filesystem.size(path) != 0:
            raise
        return b""


def copy_file(source: str, target: str) -> None:
    """Copy one file between any two places; missing local directories are made."""
    (from_system, from_path), (to_system, to_path) = filesystem_for(source), filesystem_for(target)
    if isinstance(to_system, pafs.LocalFileSystem):
        Path(to_path).parent.mkdir(parents=True, exist_ok=True)
    pafs.copy_files(from_path, to_path, source_filesystem=from_system, destination_filesystem=to_system)


def _local_path(uri: str) -> str:
    if not uri:
        raise RequestError("the path is empty; . is the working directory")
    if one := _ONE_SLASH.match(uri):
        raise RequestError(f"{uri}: wanted two slashes after the colon: {one[1].lower()}://")
    if not SCHEME.match(uri):
        return find_local(str(Path(os.path.expanduser(uri)).absolute()))  # noqa: PTH111  Path's raises for ~nobody.
    host, slash, path = uri[len("file://") :].partition("/")
    if host not in ("", "localhost"):
        raise RequestError(f"{uri}: file:// URIs name local files: file:///path, not a host ({host!r})")
    return find_local(unquote(slash + path, errors="surrogateescape"))


def _checked_size(data: bytes, max_bytes: int | None, uri: str) -> bytes:
    if max_bytes is not None and len(data) > max_bytes:
        raise too_big(uri, max_bytes)
    return data

"""A checkpoint directory put together in the local cache out of files that lie elsewhere, by links. No torch."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """Return the directory of copied and assembled models: in `VQA_RAY_CACHE`, or `~/.cache/vqa-ray`."""
    return Path(os.environ.get("VQA_RAY_CACHE", Path.home() / ".cache" / "vqa-ray")) / "models"


def assemble(files: Mapping[str, Path | bytes]) -> Path:
    """Return a directory that holds links to files, and files of given contents; made once for the same files.

    Args:
        files: path within the directory → the file that it stands for, or what it holds.
    """
    digest = hashlib.sha256()
    for name, source in sorted(files.items()):
        digest.update(f"{name}\0{_identity(source)}\0".encode())
    root = cache_root()
    target = root / digest.hexdigest()[:24]
    # It is renamed into place when it is whole.
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        staged = Path(scratch) / "model"
        for name, source in files.items():
            file = staged / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                file.write_bytes(source)
            else:
                file.symlink_to(source.resolve())
        rename_whole(staged, target)
    return target


@contextmanager
def alone_at(name: str) -> Iterator[None]:
    """Let one process at a time put an entry of this name into the cache; the others wait for the end of its block.

    Where the cache lies on a file system without locks, nobody waits.
    """
    import fcntl

    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    # The file stays: another process may wait for it, and a new one of its name would be another lock.
    with (root / f"{name}.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        yield


def rename_whole(staged: Path, target: Path) -> None:
    """Put a finished directory into its place in the cache; another process may have finished the same one first."""
    try:
        staged.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _identity(source: Path | bytes) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    status = source.stat()
    return f"{source.resolve()} {status.st_size} {status.st_mtime_ns}"

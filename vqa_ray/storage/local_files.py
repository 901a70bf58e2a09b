"""The local disk: file names as text, listings, and reads that never wait for a pipe.

A file name is bytes, of which most are UTF-8. The others are written with `\\xNN` for each byte that is not, so that a
name can stand in tables, messages and JSON; `find_local` leads back to the file.
"""

from __future__ import annotations

import errno
import io
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

HIDDEN = ("_", ".")
# A backslash that would read as an escape is escaped itself; all others stand as they are.
_AMBIGUOUS = re.compile(r"\\(?=x(?:[89a-f][0-9a-f]|5c))")
_ESCAPED = re.compile(r"\\x([89a-f][0-9a-f]|5c)")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


class LocalFile(NamedTuple):
    """A file. A link that leads nowhere, a pipe and a device count as files without bytes and without a time.

    Attributes:
        path: absolute, as text.
        size_bytes: its size.
        modified: when it was last written, in seconds since 1970.
    """

    path: str
    size_bytes: int
    modified: float | None


def name_as_text(name: str) -> str:
    r"""Return a file name of the operating system as valid text: `\xNN` for each byte that is not UTF-8."""
    if name.isascii() and "\\x" not in name:
        return name
    return _NOT_UTF8.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", _AMBIGUOUS.sub(r"\\x5c", name))


def path_as_text(path: str) -> str:
    """Return a path that a person gave, as valid text; one that is text already stands as it is."""
    return path if is_utf8(path) else name_as_text(path)


def text_as_name(text: str) -> str:
    """Return the file name of which `name_as_text` made `text`."""
    raw = _ESCAPED.sub(lambda code: "\\" if code[1] == "5c" else chr(0xDC00 + int(code[1], 16)), text)
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def find_local(path: str) -> str:
    """Return the path of a file of the operating system that an absolute path of text names.

    Each part of the path is tried as `name_as_text` wrote it, as it stands, and in the other Unicode normal form
    (macOS stores é as two characters); where none exists it is taken as it stands.
    """
    if path.isascii() and "\\x" not in path:
        return path
    found = Path("/")
    for part in path.split("/"):
        forms = [text_as_name(part)] if _ESCAPED.search(part) else []
        forms += normal_forms(part)
        name = next((form for form in forms if os.path.lexists(found / form)), part)
        found /= name
    return str(found)


def normal_forms(text: str) -> list[str]:
    """Return the ways to write a name in Unicode: as it stands, composed, decomposed."""
    return [text] if text.isascii() else [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]


def is_utf8(path: str) -> bool:
    """Check whether a path of the operating system is text."""
    return path.isascii() or not _NOT_UTF8.search(path)


def local_files(path: str, *, hidden: bool) -> Iterator[LocalFile]:
    """Yield the files below a directory, in any order; a file gives itself.

    Links are followed, but for one that leads back to a directory above it.

    Args:
        path: absolute, of the operating system.
        hidden: whether names that begin with `_` or `.` are given too.

    Raises:
        OSError: a directory may not be read.
    """
    if Path(path).is_dir():
        yield from _walk(path, (os.path.realpath(path),), () if hidden else HIDDEN)
    elif Path(path).exists():
        yield _file(path, Path(path).stat())


def read_local(path: Path, max_bytes: int | None) -> bytes:
    """Return the contents of a regular file.

    Raises:
        OSError: with errno `EFBIG` when there are more than `max_bytes` bytes; with `EINVAL` when it is a pipe, a
            socket or a device; else as the system says.
    """
    with io.BufferedReader(open_local(path)) as file:
        if max_bytes is not None and os.fstat(file.fileno()).st_size > max_bytes:
            raise too_big(str(path), max_bytes)
        return file.read() if max_bytes is None else file.read(max_bytes + 1)


def open_local(path: Path) -> io.FileIO:
    """Return a regular file, opened for reading.

    Raises:
        OSError: with errno `EINVAL` when it is a pipe, a socket or a device; else as the system says.
    """
    file = io.FileIO(str(path), opener=_open_at_once)
    if not S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", name_as_text(str(path)))
    return file


def too_big(uri: str, max_bytes: int) -> OSError:
    """Return the error of a file with more bytes than are read."""
    return OSError(errno.EFBIG, f"more than {max_bytes} bytes", uri)


def _walk(directory: str, above: tuple[str, ...], skipped: tuple[str, ...]) -> Iterator[LocalFile]:
    """Walk a directory.

    Args:
        directory: to look into.
        above: the real paths of the directories that led here, its own included.
        skipped: beginnings of names that are left out.
    """
    with os.scandir(directory) as found:
        for entry in found:
            if entry.name.startswith(skipped):
                continue
            try:
                if entry.is_dir():
                    real = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
                    if real not in above:
                        yield from _walk(entry.path, (*above, real), skipped)
                else:
                    yield _file(entry.path, entry.stat())
            except FileNotFoundError:
                # It has gone meanwhile, or is a link that leads nowhere.
                if entry.is_symlink():
                    yield LocalFile(name_as_text(entry.path), 0, None)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                yield LocalFile(name_as_text(entry.path), 0, None)


def _file(path: str, status: os.stat_result) -> LocalFile:
    if not S_ISREG(status.st_mode):
        return LocalFile(name_as_text(path), 0, None)
    return LocalFile(name_as_text(path), status.st_size, status.st_mtime)


def _open_at_once(path: str, flags: int) -> int:
    # O_NONBLOCK: without it, opening a named pipe waits for a writer, for ever.
    return os.open(path, flags | os.O_NONBLOCK)

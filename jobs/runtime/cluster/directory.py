"""The directory of a local Ray's sockets, logs and spilled objects."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

from vqa_ray.errors import RequestError

logger = logging.getLogger(__name__)

# Most bytes in the path of a Unix socket, and the bytes that Ray appends to its directory:
# /session_2026-11-28_10-03-29_747491_4194304/sockets/plasma_store
_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
_APPENDED_BYTES = 66
_MIN_FREE_BYTES = 100 * 10**6
_OTHERS = ("/tmp", "/var/tmp", "/dev/shm")


def ray_directory() -> Path:
    """Choose the directory of a local Ray: below RAY_TMPDIR or TMPDIR, or, with a warning, another one.

    Raises:
        RequestError: none can be used.
    """
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), "")
    wanted = [os.environ[variable]] if variable else []
    problems: list[str] = []
    for parent in (*wanted, *_OTHERS):
        directory = Path(parent).absolute() / "ray"
        problem = _problem(directory)
        if problem is None:
            if problems and variable:
                logger.warning("%s: Ray works in %s instead", problems[0], directory)
            return directory
        problems.append(f"{f'{variable}=' if parent in wanted else ''}{parent}: {problem}")
    raise RequestError(f"no directory for a local Ray: {'; '.join(problems)}; name one by RAY_TMPDIR")


def _problem(directory: Path) -> str | None:
    """Say why Ray cannot work in a directory; None if it can."""
    room = _SOCKET_BYTES - _APPENDED_BYTES
    length = len(os.fsencode(directory))
    if length > room:
        return f"its path is {length - room} bytes too long for sockets"
    try:
        existed = directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        if not existed:
            # As Ray does it: others of this machine may start theirs there.
            directory.chmod(0o777)
        probe = directory / f".vqa-ray-{os.getpid()}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return f"only {free / 1e6:.0f} MB are free" if free < _MIN_FREE_BYTES else None

"""The identity of a machine, a container and a process, by which others see whether a process still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
# Fields of /proc/PID/stat after the name of the program, which may hold spaces: state, …, start.
_STATE, _START = 0, 19
_GONE = ("Z", "X")


def this_host() -> str:
    """Return this machine since its last start, and the container: within it, a process is known by its number."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    try:
        namespace = str(_PID_NAMESPACE.readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{boot}/{namespace}"


def process_start(pid: int) -> int | None:
    """When a process of this host started, in clock ticks since the machine did; None where there is no such process.

    0 where the system does not tell.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0 if not Path("/proc/self/stat").exists() else None
    # A process that has ended and whose exit code nobody has read is gone, too.
    return None if fields[_STATE] in _GONE else int(fields[_START])

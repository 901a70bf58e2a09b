"""How much memory a command and everything that it starts take at most."""

from __future__ import annotations

import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

MIB = 2**20
_MARK = "VQA_RAY_BENCHMARK"
_EVERY_S = 0.25
_PROC = Path("/proc")


def peak_of(command: Sequence[str], directory: Path, log: Path) -> int:
    """Run a command and sample the memory of its processes: the most bytes at once.

    Its processes are those that inherited its environment, however they are related to it: Ray's outlive parents.

    Args:
        command: what to run.
        directory: to run it in.
        log: where its output goes.

    Raises:
        RuntimeError: it failed.
    """
    mark = uuid.uuid4().hex
    most = 0
    with log.open("w") as sink:
        process = subprocess.Popen(
            command, cwd=directory, env={**os.environ, _MARK: mark}, stdout=sink, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            most = max(most, memory_of(marked(mark)))
            time.sleep(_EVERY_S)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {log.read_text()[-2000:]}")
    return most


def marked(mark: str) -> list[Path]:
    """Return the directories in /proc of the processes that carry the mark in their environment."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for path in _PROC.glob("[0-9]*"):
        try:
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                found.append(path)
        except OSError:
            continue  # it has ended, or is not ours
    return found


def memory_of(processes: Iterable[Path]) -> int:
    """Bytes of some processes together; what they share is counted once."""
    total = 0
    stores: dict[int, int] = {}
    for path in processes:
        try:
            total += own_bytes((path / "smaps_rollup").read_text())
            stores.update(_shared_files(path))
        except OSError:
            continue  # it has ended meanwhile
    return total + sum(stores.values())


def own_bytes(smaps_rollup: str) -> int:
    """Proportional set size without shared memory, whose pages are counted by `_shared_files`.

    Args:
        smaps_rollup: content of /proc/PID/smaps_rollup, in kB.
    """
    sizes = {}
    for line in smaps_rollup.splitlines()[1:]:
        name, _, value = line.partition(":")
        sizes[name] = int(value.split()[0]) * 1024
    return sizes["Pss"] - sizes.get("Pss_Shmem", 0)


def own_peak() -> int:
    """Return the most bytes that this process has held at once.

    Not those of `getrusage`, which count the parent's memory before this program was loaded.
    """
    most_kb = re.search(r"VmHWM:\s+(\d+)", (_PROC / "self/status").read_text(encoding="utf-8"))
    assert most_kb is not None
    return int(most_kb[1]) * 1024


def _shared_files(process: Path) -> dict[int, int]:
    """Inode → bytes occupied, of the files in shared memory that a process has open: Ray's object store."""
    found = {}
    for link in (process / "fd").iterdir():
        try:
            if str(link.readlink()).startswith("/dev/shm/"):
                status = link.stat()
                found[status.st_ino] = status.st_blocks * 512
        except OSError:
            continue  # closed meanwhile
    return found

"""Ends the processes of a vLLM engine when the process that started it is gone, however it ended.

vLLM's processes do not see that: after a `kill -9` they would wait for requests for ever, and hold their GPU. This file
is a program of its own, which the engine's process starts beside it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

# As vLLM names its processes; longer names are cut.
_NAME = "VLLM::"
# Between two looks for new processes while the engine starts.
_LOOK_MS = 1000


class EngineWatch:
    """A watch of this process, from now on; none on a system that is not Linux."""

    def __init__(self) -> None:
        # Without site packages: it takes 10 ms to start.
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
        pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, start_new_session=True)

    def engine_started(self) -> None:
        """Tell that the engine starts no more processes; returns when all are known."""
        asking, answer = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answer is not None
        with contextlib.suppress(OSError):
            asking.write(b"\n")
            asking.flush()
            answer.readline()

    def close(self) -> None:
        """End the watch."""
        self._process.kill()
        self._process.communicate()


def watch(parent: int) -> None:
    """Wait for the end of a process, then kill the processes of vLLM that it and its children started."""
    ended = os.pidfd_open(parent)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(0, select.POLLIN)
    engine: dict[int, int] = {}
    is_starting = True
    while True:
        events = [number for number, _ in poll.poll(_LOOK_MS if is_starting else None)]
        if ended in events:
            break
        _add_descendants(parent, engine)
        if 0 in events:
            # All is said. Its end is not waited for: a copy of the other side may be open in the engine.
            is_starting = False
            poll.unregister(0)
            os.write(1, b"\n")
    for process, handle in engine.items():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process}/comm").read_text().startswith(_NAME):
                signal.pidfd_send_signal(handle, signal.SIGKILL)


def _add_descendants(parent: int, known: dict[int, int]) -> None:
    """Open a handle of each process below another that is not known yet."""
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            with contextlib.suppress(OSError):
                above = int((directory / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                children.setdefault(above, []).append(int(directory.name))
    waiting = [parent]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            waiting.append(child)
            if child != os.getpid() and child not in known:
                with contextlib.suppress(OSError):
                    known[child] = os.pidfd_open(child)


if __name__ == "__main__":
    watch(int(sys.argv[1]))

"""The lock of an output, known to whoever must explain why the process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.runs.lock import OutputLock


@contextmanager
def output_lock(output: str, started: str, *, wait: bool = False) -> Iterator[OutputLock]:
    """Hold the lock of an output while the block runs; see `OutputLock` for arguments and errors.

    A lock that is lost interrupts the block as Ctrl-C does; `STOP` asks the lock, so that the message names the reason.
    """
    lock = OutputLock(output, started, wait=wait)
    STOP.lock = lock
    try:
        with lock:
            yield lock
    finally:
        STOP.lock = None

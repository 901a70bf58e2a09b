"""The lock of an output, known to whoever must explain why the process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vqa_ray.errors import RequestError, one_line
from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.runs.lock import OutputLock
from vqa_ray.storage.uri import scheme_of


@contextmanager
def output_lock(output: str, started: str, *, wait: bool = False) -> Iterator[OutputLock]:
    """Hold the lock of an output while the block runs; see `OutputLock` for arguments and errors.

    A lock that is lost interrupts the block as Ctrl-C does; `STOP` asks the lock, so that the message names the reason.

    Raises:
        RequestError: also for a place that the processes of a run cannot share, or that Ray's writers would not find.
    """
    if scheme_of(output) == "memory":
        raise RequestError(f"{one_line(output)}: lies in the memory of one process; wanted a directory, s3:// or gs://")
    if any(character < " " or character == "\x7f" for character in output):
        raise RequestError(f"{one_line(ascii(output))}: wanted a name without control characters")
    lock = OutputLock(output, started, wait=wait)
    STOP.lock = lock
    try:
        with lock:
            yield lock
    finally:
        STOP.lock = None

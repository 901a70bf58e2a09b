"""Limits to the time that work in this process may take; work that takes longer ends the process.

The clock is kept by a thread of `faulthandler`, which needs no lock of the interpreter: a C library or a regular
expression that hangs may hold that lock for ever. The crash journal then shows over which rows the process ended.
"""

from __future__ import annotations

import faulthandler
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

# Of this process: descriptor of standard error, to which the traceback of the work goes.
_STDERR = 2
# A call may take as many times the longest time of a row so far, for each of its rows.
_SLACK = 10

_lock = threading.Lock()
_ends: dict[object, float] = {}


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer than `seconds`; 0 sets no limit. Threads may overlap."""
    if not seconds:
        yield
        return
    block = object()
    with _lock:
        _ends[block] = time.monotonic() + seconds
        _watch()
    try:
        yield
    finally:
        with _lock:
            del _ends[block]
            _watch()


def _watch() -> None:
    if _ends:
        seconds = max(min(_ends.values()) - time.monotonic(), 0.001)
        faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    else:
        faulthandler.cancel_dump_traceback_later()


class EachLimit:
    """Limits each of many pieces of work; a context manager around all of them.

    Setting the clock starts a thread, which would take as long as decoding a small image, so one setting serves the
    pieces that begin within a quarter of the limit: a piece ends the process after its limit or a quarter more.

    Args:
        seconds: the limit; 0 for none.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._serves_until = -math.inf

    def begin(self) -> None:
        """Begin a piece of work, which is the end of the one before."""
        now = time.monotonic()
        if self._seconds and now > self._serves_until:
            self._serves_until = now + self._seconds / 4
            with _lock:
                _ends[self] = self._serves_until + self._seconds
                _watch()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the last piece."""
        with _lock:
            if _ends.pop(self, None) is not None:
                _watch()


class CallLimit:
    """Limits the calls of a model, by what its calls took before.

    Args:
        row_timeout_s: the least limit of a call, and that of a single row; 0 for none.
    """

    def __init__(self, row_timeout_s: float) -> None:
        self._row_timeout_s = row_timeout_s
        self._longest_row_s = 0.0

    @contextmanager
    def of(self, rows: int) -> Iterator[None]:
        """End this process if the block, a call with `rows` rows, takes far longer than calls before."""
        begun = time.monotonic()
        limit = max(self._row_timeout_s, _SLACK * rows * self._longest_row_s) if self._row_timeout_s else 0.0
        with time_limit(limit):
            yield
        self._longest_row_s = max(self._longest_row_s, (time.monotonic() - begun) / max(rows, 1))

"""The time that a stage works and waits in one actor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic as _now
from typing import NamedTuple


class StageTimes(NamedTuple):
    """Work of one stage, or of several added up, without the first call of each, which warms the model up.

    Attributes:
        rows: rows of the calls.
        busy_s: seconds with a call under way.
        idle_s: seconds between calls.
    """

    rows: int = 0
    busy_s: float = 0.0
    idle_s: float = 0.0

    def plus(self, other: StageTimes) -> StageTimes:
        """Add the times of another stage."""
        return StageTimes(self.rows + other.rows, self.busy_s + other.busy_s, self.idle_s + other.idle_s)

    def minus(self, earlier: StageTimes) -> StageTimes:
        """Subtract the earlier times of the same stage."""
        return StageTimes(self.rows - earlier.rows, self.busy_s - earlier.busy_s, self.idle_s - earlier.idle_s)


class StageClock:
    """Measures the calls of a stage from all threads of an actor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._is_warm = False
        # Of the last change between working and waiting.
        self._since = 0.0
        self.times = StageTimes()

    @contextmanager
    def call(self, rows: int) -> Iterator[None]:
        """Measure a call on `rows` rows."""
        with self._lock:
            self._under_way += 1
            if self._under_way == 1:
                self._pass(is_idle=True)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                if self._is_warm:
                    self.times = self.times._replace(rows=self.times.rows + rows)
                if self._under_way == 0:
                    self._pass(is_idle=False)
                    self._is_warm = True

    def _pass(self, *, is_idle: bool) -> None:
        now = _now()
        if self._is_warm:
            name = "idle_s" if is_idle else "busy_s"
            self.times = self.times._replace(**{name: getattr(self.times, name) + now - self._since})
        self._since = now

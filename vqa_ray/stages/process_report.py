"""What a process of a run has counted so far, stored for the driver under a key of its own, twice a second at most."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

_EVERY_S = 0.5


class ProcessReport:
    """Stores the counts of one process.

    Args:
        put: stores bytes under a key, for all processes of the run.
        prefix: of the keys of the run.
    """

    def __init__(self, put: Callable[[str, bytes], Any], prefix: str) -> None:
        self._put, self._prefix = put, prefix
        self._key = ""
        self._due = 0.0

    def store(self, content: Callable[[], bytes], *, at_once: bool = False) -> None:
        """Store the counts as they are now, unless they were stored within the last half second.

        Args:
            content: gives the counts; called only if they are stored.
            at_once: whether to store them in any case.
        """
        now = time.monotonic()
        if now >= self._due or at_once:
            self._due = now + _EVERY_S
            # Made here, in the process that counts, because this object may have been copied to it.
            self._key = self._key or f"{self._prefix}{uuid.uuid4().hex}"
            self._put(self._key, content())

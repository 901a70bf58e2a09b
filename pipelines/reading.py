"""The end of reading, on request of the driver: a run answers and writes what it has read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from ray.data import DataContext

from vqa_ray.pipelines import key_value

_CONFIG = "vqa_ray_reading"
_STOPPED, _CUT = "reading-stopped-", "reading-cut-"


class Reading:
    """The reading of a run, in the key-value store of Ray's head.

    Args:
        prefix: names the run.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def may_stop(self, context: DataContext) -> None:
        """Let the read tasks that are built under `context` look out for the end."""
        context.set_config(_CONFIG, self)

    def stop(self) -> None:
        """Let the read tasks end before their next table."""
        self._put(_STOPPED)

    def is_stopped(self) -> bool:
        """Whether the read tasks are to end."""
        return key_value.exists(f"{_STOPPED}{self._prefix}")

    def cut(self) -> None:
        """Note that a read task has left rows unread."""
        self._put(_CUT)

    def is_cut(self) -> bool:
        """Whether a read task has left rows unread."""
        return key_value.exists(f"{_CUT}{self._prefix}")

    def forget(self) -> None:
        """Remove the notes."""
        for each in (_STOPPED, _CUT):
            key_value.delete(f"{each}{self._prefix}")

    def _put(self, kind: str) -> None:
        key_value.put(f"{kind}{self._prefix}", b"1")


def until_stopped(read: Callable[[], Iterable[pa.Table]]) -> Callable[[], Iterable[pa.Table]]:
    """Let a read task end when the driver stops the reading."""
    reading: Reading | None = DataContext.get_current().get_config(_CONFIG)
    return read if reading is None else _ReadUntilStopped(read, reading)


@dataclass(frozen=True)
class _ReadUntilStopped:
    read: Callable[[], Iterable[pa.Table]]
    reading: Reading
    # Ray's warnings name a read task by its function.
    __name__ = "read_shard"

    def __call__(self) -> Iterator[pa.Table]:
        if self.reading.is_stopped():
            self.reading.cut()
            return
        for table in self.read():
            if self.reading.is_stopped():
                self.reading.cut()
                return
            yield table

"""The time after which a run reads no more rows: `--max-hours`, or the length of a sample."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic as _now

from vqa_ray.durations import duration
from vqa_ray.pipelines.reading import Reading
from vqa_ray.stages.row_report import ReturnedRows

logger = logging.getLogger(__name__)

_SAMPLE_S: ContextVar[float | None] = ContextVar("sample_s", default=None)


class TimeLimit:
    """Ends the reading of a run when its time is over.

    Args:
        reading: of the run.
        seconds: the time.
        from_first_row: whether it begins with the first answered row, or at once.
    """

    def __init__(self, reading: Reading, seconds: float, *, from_first_row: bool = False) -> None:
        self._reading, self._seconds = reading, seconds
        self._began = None if from_first_row else _now()
        self._is_over = False

    @property
    def message(self) -> str:
        """The error of a run that has left rows unread."""
        return (
            f"stopped: --max-hours {self._seconds / 3600:g} is over; what is written stays, and the same command goes "
            "on from there"
        )

    def look(self, now: ReturnedRows) -> None:
        """End the reading if it is time."""
        if self._began is None and now.rows:
            self._began = _now()
        if not self._is_over and self._began is not None and _now() - self._began >= self._seconds:
            self._is_over = True
            self._reading.stop()
            logger.info("%s are over: the rows that are read are answered and written", duration(self._seconds))


def is_sample() -> bool:
    """Whether a sample runs, within `sampling`."""
    return _SAMPLE_S.get() is not None


def time_limit(max_hours: float | None, reading: Reading) -> TimeLimit | None:
    """Return the limit of a run; None without one."""
    sample_s = _SAMPLE_S.get()
    if sample_s is not None:
        return TimeLimit(reading, sample_s, from_first_row=True)
    return None if max_hours is None else TimeLimit(reading, 3600 * max_hours)


@contextmanager
def sampling(seconds: float) -> Iterator[None]:
    """Let runs within the block end this long after their first row."""
    token = _SAMPLE_S.set(seconds)
    try:
        yield
    finally:
        _SAMPLE_S.reset(token)

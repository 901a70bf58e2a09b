"""The progress of a run in words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vqa_ray.durations import duration

logger = logging.getLogger(__name__)

_PATIENCE_S = 1.5


@contextmanager
def announce_when_slow(what: str) -> Iterator[None]:
    """Log `what` if the block takes more than a moment, so that a request refused at once stays one line."""
    timer = threading.Timer(_PATIENCE_S, logger.info, ("%s", what))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def progress_line(rows: int, total: int | None, speed: float, *, is_estimate: bool = False) -> str:
    """Write one line of progress.

    Args:
        rows: rows answered by now.
        total: all rows; None when unknown.
        speed: rows per second.
        is_estimate: whether `total` is an estimate; it is omitted once it is reached.
    """
    if total is None or (is_estimate and rows >= total):
        return f"{rows:,} rows, {speed:,.1f} rows/s"
    share = rows / total if total else 1.0
    left = f", about {duration((total - rows) / speed)} left" if speed > 0 else ""
    about, shown = ("about ", round_estimate(total)) if is_estimate else ("", total)
    return f"{rows:,} of {about}{shown:,} rows ({share:.0%}), {speed:,.1f} rows/s{left}"


def round_estimate(rows: int) -> int:
    """Round an estimate to two digits: 12,345 → 12,000."""
    return int(float(f"{rows:.2g}"))

"""How the progress of a run is put into words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vqa_ray.durations import duration

logger = logging.getLogger(__name__)

_PATIENCE_S = 1.5


@contextmanager
def told_when_slow(what: str) -> Iterator[None]:
    """Log what is being done, once it has taken more than a moment: a request refused at once is one line alone."""
    timer = threading.Timer(_PATIENCE_S, logger.info, ("%s", what))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def line(rows: int, total: int | None, speed: float, *, is_estimate: bool = False) -> str:
    """One line of progress.

    Args:
        rows: answered by now.
        total: rows in all, or None.
        speed: rows per second.
        is_estimate: whether `total` is an estimate, which is left out once it is reached.
    """
    if total is None or (is_estimate and rows >= total):
        return f"{rows:,} rows, {speed:,.1f} rows/s"
    share = rows / total if total else 1.0
    left = f", about {duration((total - rows) / speed)} left" if speed > 0 else ""
    about = "about " if is_estimate else ""
    return (
        f"{rows:,} of {about}{rounded(total) if is_estimate else total:,} rows ({share:.0%}), {speed:,.1f} rows/s{left}"
    )


def rounded(rows: int) -> int:
    """An estimate with no more digits than it deserves: 12,345 → 12,000."""
    return int(float(f"{rows:.2g}"))

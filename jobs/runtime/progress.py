"""The progress of a run or a training in words."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from vqa_ray.counted import counted
from vqa_ray.durations import duration

logger = logging.getLogger(__name__)

_PATIENCE_S = 1.5
POLL_S = 2.0
LINE_EVERY_S = 15.0


class ProgressLine(NamedTuple):
    """One message on progress, with its numbers for `--log-format json`."""

    text: str
    fields: dict[str, Any]


@contextmanager
def background(run: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a function in a thread of its own while the block runs.

    Args:
        run: called with an event that is set when the block ends; then it should return soon.
    """
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(stop,), name="background", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def log_progress(
    stop: threading.Event,
    beginning: str,
    line: Callable[[], ProgressLine | None],
    poll: Callable[[], object] = bool,
) -> None:
    """Log progress every `LINE_EVERY_S` seconds until `stop` is set.

    Args:
        stop: ends the function.
        beginning: what happens at first; it is logged at once, and with its duration until there is progress.
        line: the progress; None while there is nothing new.
        poll: called every `POLL_S` seconds.
    """
    begun = last = time.monotonic()
    is_beginning = True
    logger.info("%s", beginning)
    while not stop.wait(POLL_S):
        poll()
        now = time.monotonic()
        if now - last < LINE_EVERY_S:
            continue
        progress = line()
        if progress is not None:
            last, is_beginning = now, False
            logger.info("%s", progress.text, extra={"fields": progress.fields})
        elif is_beginning:
            last = now
            logger.info("%s: %s", beginning, duration(now - begun))


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
        return f"{counted(rows, 'row')}, {speed:,.1f} rows/s"
    share = rows / total if total else 1.0
    about, shown = ("about ", round_estimate(total)) if is_estimate else ("", total)
    return (
        f"{rows:,} of {about}{counted(shown, 'row')} ({share:.0%}), {speed:,.1f} rows/s{time_left(total - rows, speed)}"
    )


def time_left(rest: int, speed: float) -> str:
    """`, about 12 min left` for the rest of the rows or steps; empty while the speed per second is 0."""
    return f", about {duration(rest / speed)} left" if speed > 0 else ""


def round_estimate(rows: int) -> int:
    """Round an estimate to two digits: 12,345 → 12,000."""
    return int(float(f"{rows:.2g}"))

"""How far a run is, from the rows it has committed."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobs.logs import console
from vqa_ray.run.commits import committed_tasks
from vqa_ray.run.layout import RunLayout
from vqa_ray.run.tally import row_count

logger = logging.getLogger(__name__)

_POLL_S = 2.0
_LINE_EVERY_S = 15.0


class Meter:
    """Counts committed rows; reads the footer of each checkpoint file once."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._rows: dict[str, int] = {}

    def rows(self) -> int:
        """Rows committed by now."""
        for uri in committed_tasks(self._layout).values():
            if uri not in self._rows:
                self._rows[uri] = row_count(uri)
        return sum(self._rows.values())


class Watch:
    """Shows progress while a `with` block runs: a bar on a terminal, lines elsewhere, nothing when quiet.

    Args:
        layout: the run directory.
        total: rows in all, or None when unknown.
        quiet: show nothing.
    """

    def __init__(self, layout: RunLayout, total: int | None, quiet: bool) -> None:
        self._meter, self._total, self._quiet = Meter(layout), total, quiet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Watch:
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if not self._quiet:
            self._thread.join()

    def _run(self) -> None:
        try:
            if console().isatty():
                self._bar()
            else:
                self._lines()
        except OSError as error:
            logger.warning("progress is not shown any more: %s", error)

    def _bar(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        first, begun = self._meter.rows(), time.monotonic()
        with Progress(*columns, console=Console(file=console()), transient=True) as bar:
            task = bar.add_task("rows", total=self._total, completed=first, speed="")
            while not self._stop.wait(_POLL_S):
                rows = self._meter.rows()
                speed = (rows - first) / (time.monotonic() - begun)
                bar.update(task, completed=rows, speed=f"{speed:,.1f} rows/s")

    def _lines(self) -> None:
        first, begun = self._meter.rows(), time.monotonic()
        while not self._stop.wait(_LINE_EVERY_S):
            rows = self._meter.rows()
            speed = (rows - first) / (time.monotonic() - begun)
            logger.info(
                "%s",
                line(rows, self._total, speed),
                extra={"fields": {"rows": rows, "total": self._total, "rows_per_s": round(speed, 2)}},
            )


def line(rows: int, total: int | None, speed: float) -> str:
    """One line of progress.

    Args:
        rows: committed by now.
        total: rows in all, or None.
        speed: rows per second.
    """
    if total is None:
        return f"{rows:,} rows, {speed:,.1f} rows/s"
    share = rows / total if total else 1.0
    left = f", about {duration((total - rows) / speed)} left" if speed > 0 else ""
    return f"{rows:,} of {total:,} rows ({share:.0%}), {speed:,.1f} rows/s{left}"


def duration(seconds: float) -> str:
    """A length of time for a person: 42 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Reports on a run under way, from the rows that its model has answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vqa_ray.errors import TooManyErrors, VqaRayError, one_line
from vqa_ray.jobs.runtime.logs import console
from vqa_ray.jobs.runtime.progress import POLL_S, ProgressLine, background, log_progress, progress_line, round_estimate
from vqa_ray.jobs.runtime.progress_file import ProgressFile
from vqa_ray.jobs.runtime.reading_time import TimeLimit
from vqa_ray.jobs.runtime.signals import STOP, describe
from vqa_ray.pipelines.reports import StopOnRequest, outages, returned_rows
from vqa_ray.readers.estimate import Estimate
from vqa_ray.runs.progress import Progress as RunProgress
from vqa_ray.stages.row_report import ReturnedRows
from vqa_ray.storage.store_errors import store_failures

logger = logging.getLogger(__name__)

# With fewer rows, nothing follows for the rest.
_SAMPLE_ROWS = 200
_LOADING = "loading the model"


class ProgressReporter:
    """Reports progress while a block runs: a bar on a terminal, lines elsewhere, nothing when quiet.

    Logs the first error when it occurs, and stops a run that can only end with too many errors.

    Args:
        total: all rows; None when unknown.
        estimate: counts or estimates an unknown total; called in a thread of its own.
        present: rows written before.
        quiet: show warnings only.
        reports: prefix of the names of the model actors' reports.
        file: takes the progress, for `vqa-ray watch`.
        observe: takes the progress too, for metrics; None for nobody.
        limit: ends the reading; None for no end before the last row.
        max_error_fraction: a larger fraction of failed rows stops the run.
    """

    def __init__(
        self,
        total: int | None,
        *,
        present: int,
        quiet: bool,
        reports: str,
        file: ProgressFile,
        observe: Callable[[RunProgress], object] | None = None,
        limit: TimeLimit | None = None,
        max_error_fraction: float,
        estimate: Callable[[], Estimate | None] | None = None,
    ) -> None:
        self._estimate = estimate
        self._about: int | None = None
        self._total, self._present, self._quiet = total, present, quiet
        self._reports, self._max_error_fraction = reports, max_error_fraction
        self._answered, self._counted = ReturnedRows(), present
        # Store → why it is down.
        self._down: dict[str, str] = {}
        self._file, self._observe, self._limit = file, observe, limit
        self.stages_s: Mapping[str, float] = {}

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Report while the block runs."""
        StopOnRequest.error = None
        if self._total is None and self._estimate is not None and not self._quiet:
            # Nobody waits for the end of this thread: counting may take as long as the run.
            threading.Thread(target=self._count, args=(self._estimate,), name="estimate", daemon=True).start()
        try:
            with background(self._run):
                yield
        except BaseException as error:
            self._file.close(_end(error), self.stages_s)
            raise
        else:
            self._file.close("", self.stages_s)
        finally:
            StopOnRequest.error = None

    def _run(self, stop: threading.Event) -> None:
        try:
            if self._quiet or not console().isatty():
                self._lines(stop)
            else:
                self._bar(stop)
        except store_failures(ray.exceptions.RayError) as error:
            logger.warning("progress is not shown any more: %s", error)

    def _count(self, estimate: Callable[[], Estimate | None]) -> None:
        try:
            estimated = estimate()
        except store_failures(VqaRayError) as error:
            # Reading the rows meets the same error, and reports it.
            logger.debug("the number of rows is not estimated: %s", error)
            return
        if estimated is None:
            return
        if estimated.is_exact:
            self._total = estimated.rows
        else:
            self._about = estimated.rows

    def _count_answered(self) -> ReturnedRows:
        """Count the rows answered by this execution, and log its first error once."""
        before, now = self._answered, returned_rows(self._reports)
        if now.rows < before.rows:
            # The reports are deleted: the run ends.
            return before
        self._answered = now
        if now.first_error is not None and before.first_error is None:
            logger.warning("first error: %s", now.first_error, extra={"fields": {"first_error": now.first_error}})
        return now

    def _log_outages(self) -> None:
        """Log the stores that are down, and up again, once each."""
        for each in outages(self._reports):
            if (each.store in self._down) == each.is_over:
                reason = "is up again" if each.is_over else f"is down, waiting (--outage-timeout-s): {each.reason}"
                logger.warning("%s %s", each.store, reason)
            if each.is_over:
                self._down.pop(each.store, None)
            else:
                self._down[each.store] = each.reason

    def count(self) -> ReturnedRows:
        """Count the rows answered by now, with those written before, and let the file take them."""
        now = self._count_answered()
        self._log_outages()
        # A row that is repeated after a failure counts twice.
        rows = self._present + now.rows
        self._counted = rows if self._total is None else min(rows, self._total)
        down = [f"{store} is down, waiting (--outage-timeout-s): {why}" for store, why in sorted(self._down.items())]
        self._file.update(self._counted, now, self._total, self._about, down)
        if self._observe is not None:
            self._observe(self._file.state)
        return now

    def _look(self) -> int:
        """Count the rows; end the reading when it is time, and stop a hopeless run."""
        now, rows = self.count(), self._counted
        if self._limit is not None:
            self._limit.look(now)
        if StopOnRequest.error is None and is_hopeless(now, self._total, self._max_error_fraction):
            StopOnRequest.error = TooManyErrors(
                f"stopped: {now.failed:,} of the first {now.rows:,} rows failed, more than --max-error-fraction "
                f"{self._max_error_fraction:g} allows ({now.first_error}); what is written stays: the same command "
                "goes on from there, with --max-error-fraction 1 to the end"
            )
        return rows

    def _bar(self, stop: threading.Event) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(file=console()), transient=True) as bar:
            task = bar.add_task(_LOADING, total=self._total, completed=self._present, speed="")
            while not stop.wait(POLL_S):
                rows = self._look()
                speed = self._file.state.rows_per_s
                shown = "rows" if rows > self._present else _LOADING
                total = self._total
                if total is None and self._about is not None and rows < self._about:
                    total, shown = round_estimate(self._about), f"{shown}, total estimated"
                bar.update(
                    task, total=total, completed=rows, speed=f"{speed:,.1f} rows/s" if speed else "", description=shown
                )

    def _lines(self, stop: threading.Event) -> None:
        def line() -> ProgressLine | None:
            rows, speed = self._counted, self._file.state.rows_per_s
            fields = {
                "rows": rows,
                "total": self._total,
                "total_estimate": self._about,
                "rows_per_s": round(speed, 2),
                "failed": self._answered.failed,
            }
            total, is_estimate = (self._total, False) if self._total is not None else (self._about, True)
            text = progress_line(rows, total, speed, is_estimate=is_estimate)
            return ProgressLine(text, fields) if self._answered.rows else None

        log_progress(stop, _LOADING, line, self._look)


def _end(error: BaseException) -> str:
    """Tell why a run has ended; the page of `vqa-ray watch` repeats it."""
    if isinstance(error, KeyboardInterrupt):
        signal = "Ctrl-C" if STOP.received is None else describe(STOP.received)
        return f"ended by {signal}; the same command goes on from here"
    return one_line(error) or type(error).__name__


def is_hopeless(now: ReturnedRows, total: int | None, max_error_fraction: float) -> bool:
    """Whether a run can only end with too many errors, or all of its first rows failed.

    Args:
        now: counts of answered and failed rows by now.
        total: all rows; None when unknown.
        max_error_fraction: of all rows.
    """
    if now.rows < _SAMPLE_ROWS or max_error_fraction >= 1:
        return False
    if total is not None and now.failed > max_error_fraction * total:
        return True
    return now.failed == now.rows

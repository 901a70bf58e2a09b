"""A model stage inside an actor, which survives rows that kill the process and ends it when the device is lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import pyarrow as pa

from vqa_ray.cache.answer_cache import AnswerCache
from vqa_ray.cache.entries import attach, detach
from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.process import gc_paused, limit_threads
from vqa_ray.schema import is_ok, mark_failed
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.model_stage import DEVICE_LOST
from vqa_ray.stages.row_report import RowReport
from vqa_ray.stages.size_report import SizeReport
from vqa_ray.stages.stage_clock import StageClock
from vqa_ray.stages.time_limit import CallLimit
from vqa_ray.stages.usage import without_unbudgeted

logger = logging.getLogger(__name__)

EXIT_CODE = 70
_CRASHED = "the process of the model died over this row, twice"

ModelStage: TypeAlias = Callable[[pa.Table], pa.Table]


class ModelActor:
    """Holds a model stage; a row that kills the process costs that row, not the run.

    Ray starts a dead actor again and repeats its call. The journal then shows that the batch was under way before, and
    its rows go to the model one by one; the row that kills the process a second time becomes a `row_crashed` row.

    The stage lives in a thread of its own, from its first import to its last call. OpenMP gives each thread that
    computes a team of threads; with more of them than cores, all sleep between two operations instead of spinning,
    which costs a tenth of the time of a model on two cores.

    Args:
        make_stage: loads the model and returns the stage: an `AnswerStage`, a `TagStage` and so on.
        journal: notes the batches under way; its id belongs to one execution, so that a driver that was killed leaves
            no batch under suspicion.
        report: counts the rows while the run goes on; None counts nothing.
        threads: CPU threads of the model; None leaves them alone.
        calls: calls of the stage at a time; more than one for an engine that batches requests itself.
        cache: of the stage's models: what it collects leaves the actor in the column `entries.NEWS`.
        sizes: counts the images by size; None counts nothing.
        row_timeout_s: a row that takes longer ends the process, and so becomes a `row_crashed` row; a batch may take
            longer where batches before did. 0 for no limit.
    """

    def __init__(
        self,
        make_stage: Callable[[], ModelStage],
        journal: CrashJournal,
        report: RowReport | None = None,
        threads: int | None = None,
        calls: int = 1,
        *,
        cache: AnswerCache | None = None,
        sizes: SizeReport | None = None,
        row_timeout_s: float = 0.0,
    ) -> None:
        limit_threads(threads)
        self._thread = ThreadPoolExecutor(calls, thread_name_prefix="vqa-ray-model")
        self._stage: ModelStage | None = None
        self._refusal: RequestError | None = None
        with gc_paused():
            try:
                self._stage = self._thread.submit(make_stage).result()
            except RequestError as refusal:
                # Raised by the first call: an actor that cannot be made is tried again, with Ray's traceback each time.
                self._refusal = refusal
        self._journal, self._report, self._cache, self._sizes = journal, report, cache, sizes
        self._limit, self._clock = CallLimit(row_timeout_s), StageClock()
        late = f", or took more than {row_timeout_s:g} s (--row-timeout-s)" if row_timeout_s else ""
        self._crashed = RowError(ErrorCode.ROW_CRASHED, f"{_CRASHED}{late}")

    def __call__(self, table: pa.Table) -> pa.Table:
        """Run the stage on a DECODED table: as many rows, in the same order, but for those beyond a budget.

        Raises:
            RequestError: the stage's configuration is wrong, such as a model whose weights do not fit.
        """
        if self._refusal is not None:
            raise self._refusal
        table, news = detach(table)
        result = without_unbudgeted(self._answered(table))
        if self._report is not None:
            self._report.add(result, self._clock.times)
        if self._sizes is not None:
            self._sizes.add(table)
        if self._cache is None:
            return result
        # Without a row to go with, news waits for the next one.
        return attach(result, [*news, self._cache.take_news()] if result.num_rows else [])

    def _answered(self, table: pa.Table) -> pa.Table:
        with self._journal.batch(table["source_key"][0].as_py()) as died_before:
            if not died_before:
                return self._guarded(table)
            logger.warning("a process died over this batch of %d rows: they go to the model one by one", table.num_rows)
            return pa.concat_tables([self._alone(table.slice(row, 1)) for row in range(table.num_rows)])

    def _alone(self, row: pa.Table) -> pa.Table:
        if not is_ok(row).all():
            return self._guarded(row)
        # Negative, so that a row's own note differs from that of the batch that begins with it.
        with self._journal.batch(-1 - row["source_key"][0].as_py()) as died_before:
            return self._guarded(mark_failed(row, {0: self._crashed}) if died_before else row)

    def _guarded(self, table: pa.Table) -> pa.Table:
        try:
            assert self._stage is not None
            with self._limit.of(table.num_rows):
                result: pa.Table = self._thread.submit(self._timed, self._stage, table).result()
        except Exception as error:
            if type(error).__name__ not in DEVICE_LOST:
                raise
            # Every later call of this process would fail too; in a fresh process the device works again.
            logger.critical("the device is lost, this process ends: %s", error)
            os._exit(EXIT_CODE)
        return result

    def _timed(self, stage: ModelStage, table: pa.Table) -> pa.Table:
        with self._clock.call(table.num_rows):
            return stage(table)

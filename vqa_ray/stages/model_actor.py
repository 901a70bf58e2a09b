"""A model stage inside an actor: what to do when a row, or the device, takes the process down."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from vqa_ray.errors import ErrorCode, RequestError
from vqa_ray.process import gc_paused
from vqa_ray.schema import STATUS, STATUS_ERROR, STATUS_OK
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.model_stage import DEVICE_LOST
from vqa_ray.stages.row_report import RowReport

logger = logging.getLogger(__name__)

EXIT_CODE = 70


class ModelActor:
    """Holds a model stage; a row that kills the process costs that row, not the run.

    Ray starts a dead actor again and repeats its call. The journal then tells that the batch was under way before, and
    its rows go to the model one by one; the one that kills the process a second time becomes a `row_crashed` row.

    The stage lives in a thread of its own, from its first import to its last call. OpenMP gives each thread that
    computes a team, and as soon as there are more threads in teams than cores, all of them sleep between two operations
    instead of waiting awake: a tenth of the time of a model on two cores.

    Args:
        stage: AnswerStage, TagStage, CaptionStage or another of their shape.
        options: its keyword arguments.
        journal: where batches under way are noted; its id belongs to one execution, so that batches of a driver that
            was killed are under no suspicion.
        report: where the rows are counted while the run goes on; None for nowhere.
    """

    def __init__(
        self, stage: type, options: Mapping[str, Any], journal: CrashJournal, report: RowReport | None = None
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vqa-ray-model")
        self._stage: Any = None
        self._refusal: RequestError | None = None
        with gc_paused():
            try:
                self._stage = self._thread.submit(stage, **options).result()
            except RequestError as refusal:
                # Raised by the first call: an actor that cannot be made is tried again, with Ray's traceback each time.
                self._refusal = refusal
        self._journal, self._report = journal, report

    def __call__(self, table: pa.Table) -> pa.Table:
        """What the stage makes of a DECODED table: as many rows, in the same order.

        Raises:
            RequestError: what the stage was made of is wrong, such as a model whose weights do not fit.
        """
        if self._refusal is not None:
            raise self._refusal
        result = self._answered(table)
        if self._report is not None:
            self._report.add(result)
        return result

    def _answered(self, table: pa.Table) -> pa.Table:
        with self._journal.batch(table["source_key"][0].as_py()) as died_before:
            if not died_before:
                return self._guarded(table)
            logger.warning("A process died over this batch of %d rows: they are taken one by one", table.num_rows)
            return pa.concat_tables([self._alone(table.slice(row, 1)) for row in range(table.num_rows)])

    def _alone(self, row: pa.Table) -> pa.Table:
        if row["status"][0].as_py() != STATUS_OK:
            return self._guarded(row)
        # Below zero, a row's own note cannot be taken for that of the batch that it begins.
        with self._journal.batch(-1 - row["source_key"][0].as_py()) as died_before:
            return self._guarded(_crashed(row) if died_before else row)

    def _guarded(self, table: pa.Table) -> pa.Table:
        try:
            result: pa.Table = self._thread.submit(self._stage, table).result()
        except Exception as error:
            if type(error).__name__ != DEVICE_LOST:
                raise
            # Every later call of this process would fail too; in a fresh one the device works again.
            logger.critical("the device is lost, this process ends: %s", error)
            os._exit(EXIT_CODE)
        return result


def _crashed(row: pa.Table) -> pa.Table:
    values = {
        "status": STATUS_ERROR,
        "error_code": str(ErrorCode.ROW_CRASHED),
        "error_message": "the process of the model died over this row, twice",
    }
    for field in STATUS:
        column = pa.array([values[field.name]], field.type)
        row = row.set_column(row.schema.get_field_index(field.name), field, column)
    return row

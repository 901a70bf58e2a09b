"""The file in which a run's driver keeps the progress, for `vqa-ray watch`."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from vqa_ray.errors import VqaRayError, one_line
from vqa_ray.jobs.runtime.job import Attempt
from vqa_ray.runs.progress import Point, Progress, with_point
from vqa_ray.stages.row_report import ReturnedRows
from vqa_ray.storage.store_errors import store_failures

logger = logging.getLogger(__name__)

EVERY_S = 5.0


class ProgressFile:
    """Keeps the progress of a process, and replaces the file every `EVERY_S` seconds.

    Args:
        work: the rows that the process writes.
        cpus: of the cluster.
        gpus_per_actor: of the model actors.
    """

    def __init__(self, work: Attempt, cpus: float, gpus_per_actor: float) -> None:
        now = time.time()
        self._uri, self._due, self._has_failed = work.directory.progress, 0.0, False
        self.state = Progress(
            work.record.run_id,
            work.directory.attempt,
            now,
            now,
            work.present,
            work.present,
            work.total,
            cpus=cpus,
            gpus_per_actor=gpus_per_actor,
            history=[Point(now, work.present)],
            moved=now,
        )

    def update(
        self, rows: int, returned: ReturnedRows, total: int | None, total_estimate: int | None, down: Sequence[str]
    ) -> None:
        """Take the counts of now, and write them when it is time."""
        at, now = returned.at or self.state.started, time.time()
        self.state = replace(
            self.state,
            updated=now,
            moved=self.state.moved if rows == self.state.rows else now,
            rows=rows,
            total=total,
            total_estimate=total_estimate,
            failed=returned.failed,
            errors=returned.errors,
            examples=returned.examples,
            actors=returned.actors,
            stage_rows=returned.times.rows,
            busy_s=returned.times.busy_s,
            idle_s=returned.times.idle_s,
            down=down,
            history=with_point(self.state.history, Point(at, rows)),
        )
        if time.monotonic() >= self._due:
            self._write()

    def close(self, end: str, stages_s: Mapping[str, float]) -> None:
        """Write the end of the process; see `Progress`."""
        self.state = replace(self.state, updated=time.time(), end=end, stages_s=stages_s, down=[])
        self._write()

    def _write(self) -> None:
        self._due = time.monotonic() + EVERY_S
        try:
            self.state.write(self._uri)
        except store_failures(VqaRayError) as error:
            # Rows are written elsewhere; if that fails too, the run fails and says so. The next state may be taken.
            if not self._has_failed:
                logger.warning("%s: cannot be written, `vqa-ray watch` sees old counts: %s", self._uri, one_line(error))
            self._has_failed = True

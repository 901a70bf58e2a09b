"""`--retry-failed`: answer the failed rows of a finished run again, in their places."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RequestError, RunError
from vqa_ray.jobs.runtime import admission, summary
from vqa_ray.jobs.runtime.commit import finish_run, recover_committed_keys, write_rows
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.spec.retry_codes import Retry
from vqa_ray.keys import size
from vqa_ray.readers.changes.reconcile import check_retried
from vqa_ray.runs import manifest
from vqa_ray.runs.apply_retry import apply_retry
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.counts import count_rows, failed_rows, keys_of_parts
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.stages.read import questions_of, read_tasks
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.delete import delete_directory
from vqa_ray.storage.filesystem import read_bytes

logger = logging.getLogger(__name__)


def retry_failed(job: Job, retry: Retry, fence: Fence) -> RunResult:
    """Answer the failed rows of a finished run again, as a new attempt, or finish an attempt that was stopped.

    The attempt is a small run of its own below the run directory, so it can be killed and resumed like one; then its
    rows replace the failed ones, file by file.

    Args:
        job: the command.
        retry: the error codes of the rows.
        fence: the right to write to the output.

    Raises:
        RequestError: there is no finished run of this command, or an attempt with other codes is under way.
        RunError: see `vqa_ray.jobs.runtime.run.run_job`.
    """
    directory = RunDirectory(job.spec.output)
    record, before = require_finished(job)
    attempts: list[Mapping[str, Any]] = before["attempts"]
    fence.check()
    number = manifest.next_attempt(before)
    if number > 2:
        delete_directory(directory.later(number - 1).parts)
    attempt = directory.later(number)
    keys = _keys(directory, attempt, record, retry)
    if not len(keys):
        logger.info("%s: %s", directory.output, retry.nothing_message())
        return summary.log_summary(before, directory.output, job.spec.max_error_fraction)
    input_rows = np.unique(keys[:, 0])
    check_retried(job.source, input_rows)
    done = recover_committed_keys(attempt, fence)
    asked = questions_of(keys) if job.source.multi_question and "question_index" in job.schema.names else None
    tasks = read_tasks(job.source, keys=input_rows, done=done, questions=asked)
    work = Attempt(record, attempt, tasks, size(done), len(input_rows), fence, is_retry=True)
    timing = write_rows(job, work)
    uris = [entry.uri for entry in attempt.part_files()]
    came_back = keys_of_parts(uris)
    if not np.array_equal(came_back[np.lexsort((came_back[:, 1], came_back[:, 0]))], keys):
        raise RunError(f"{attempt.parts}: {len(came_back)} rows came back for {len(keys)} failed ones")
    counts = count_rows(uris)
    fence.check()
    apply_retry([entry.uri for entry in directory.part_files()], uris, attempt.attempt)
    entry = {"attempt": attempt.attempt, "codes": retry.names(), "rows": counts.rows, "ok": counts.ok}
    result = finish_run(job, work, timing, {**before, "attempts": [*attempts, entry]})
    delete_directory(attempt.parts)
    return result


def require_finished(job: Job) -> tuple[RunRecord, dict[str, Any]]:
    """Read the record and the manifest of the run whose failed rows a job is to answer.

    Raises:
        RequestError: its output holds no finished run of the same request.
    """
    directory = RunDirectory(job.spec.output)
    record, finished = RunRecord.read(directory.record), manifest.read(directory.manifest)
    if record is None or finished is None:
        raise RequestError(
            f"--retry-failed: {directory.output} holds no finished run; run the command without --retry-failed first"
        )
    admission.require_same_request(directory.output, record, job.record)
    return record, finished


def _keys(directory: RunDirectory, attempt: RunDirectory, record: RunRecord, retry: Retry) -> npt.NDArray[np.int64]:
    """Give the keys of an attempt: those it began with, or the rows that have failed by now; see `failed_rows`."""
    under_way = RunRecord.read(attempt.record)
    if under_way is not None:
        if "retry_failed" not in under_way.command:
            raise RequestError(
                f"--retry-failed: an update is under way in {directory.output}; finish it with --update first"
            )
        codes = under_way.command["retry_failed"]
        if codes != retry.names():
            raise RequestError(
                f"--retry-failed: an attempt for {','.join(codes)} is under way in {directory.output}; finish it with "
                f"--retry-failed {','.join(codes)}"
            )
        keys: npt.NDArray[np.int64] = np.load(io.BytesIO(read_bytes(attempt.keys)))
        # Older attempts hold no places of questions.
        return keys if keys.ndim == 2 else np.stack([keys, np.zeros_like(keys)], axis=1)
    keys = failed_rows([entry.uri for entry in directory.part_files()], retry.codes)
    if len(keys):
        buffer = io.BytesIO()
        np.save(buffer, keys)
        write_bytes_atomic(attempt.keys, buffer.getvalue())
        # Written after the keys: where there is a record, the keys are whole.
        replace(record, command={**record.command, "retry_failed": retry.names()}).write(attempt.record)
    return keys

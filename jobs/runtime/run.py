"""One execution of `answer`, `tag`, `caption` or `retrieve`: a run, the rest of one, or a retry of its failed rows."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime import admission, run_gallery, summary
from vqa_ray.jobs.runtime.answer_cache import compacted_cache
from vqa_ray.jobs.runtime.batch import write_requests
from vqa_ray.jobs.runtime.commit import finish_run, recover_committed_keys, write_rows
from vqa_ray.jobs.runtime.delta import reopened, update_run
from vqa_ray.jobs.runtime.delta_publication import finish_publication
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.lineage_events import lineage
from vqa_ray.jobs.runtime.logs import of_run
from vqa_ray.jobs.runtime.output_file import check_page
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.recorded_input import log_drift
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.retry import require_finished, retry_failed
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run
from vqa_ray.jobs.spec.endpoint_group import BatchGroup
from vqa_ray.keys import NOTHING, Ranges, keys_of, size
from vqa_ray.readers.changes.reconcile import read_anew, reconcile
from vqa_ray.readers.changes.snapshot import input_place, read_snapshot, refreshed, write_snapshot
from vqa_ray.readers.changes.succession import abandoned, with_keys
from vqa_ray.runs import manifest
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.commits import committed_tasks, lost_tasks
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.stages.read import limits_for, read_tasks

logger = logging.getLogger(__name__)


def run_job(job: Job) -> RunResult:
    """Run a job, or what is left of it, or answer its failed rows again.

    Raises:
        RequestError: the output holds something else, or the cluster is too small.
        RunError: the pipeline failed; the same command goes on from there.
    """
    check_page(job.spec.gallery)
    with compacted_cache(job.spec), lineage(job):
        result = _execute(job)
    run_gallery.write(reopened(job) if job.spec.update and job.spec.gallery else job)
    return result


def _execute(job: Job) -> RunResult:
    directory = RunDirectory(job.spec.output)
    existing = admission.existing_record(directory, job.record, job.may_differ)
    with of_run((existing or job.record).run_id):
        return _continue(job, directory)


def _continue(job: Job, directory: RunDirectory) -> RunResult:
    retry, updates = job.spec.retry, job.spec.update
    is_plain = retry is None and not updates and job.write_derived is None
    if is_plain and _finished(job, directory) is not None:
        return _log_finished(job, directory)
    if retry is not None:
        # Before the lock, which would make a directory.
        require_finished(job)
    with output_lock(directory.output, job.record.started, wait=job.spec.wait) as lock, store_failures_fail_the_run():
        finish_publication(job, directory, lock.fence)
        job = _as_recorded(job, directory)
        if retry is not None:
            return retry_failed(_limited(job), retry, lock.fence)
        return _update(job, directory, lock.fence) if updates else _run(job, directory, lock.fence)


def _as_recorded(job: Job, directory: RunDirectory) -> Job:
    """Open the input again where another process has recorded other files of it since it was opened."""
    known, source = read_snapshot(directory.listing()), job.source
    if known is None or known.place != input_place(job.spec.input):
        return job
    is_same = known.shards_below(source.root) == source.shards and np.array_equal(known.retired, source.retired)
    return job if is_same else reopened(job)


def _update(job: Job, directory: RunDirectory, fence: Fence) -> RunResult:
    """Finish a run where that is still to do, then bring it up to date with its input."""
    record = RunRecord.read(directory.record)
    if record is None:
        return _run(job, directory, fence)
    if _finished(job, directory) is None:
        admission.require_same_request(directory.output, record, job.record)
        logger.info("%s: the run is finished first, then it is updated", directory.output)
        result = _run(job, directory, fence)
        if result.integrity_errors:
            return result
        job = reopened(job)
    return update_run(job, fence)


def _run(job: Job, directory: RunDirectory, fence: Fence) -> RunResult:
    record, new = admission.claim_output(directory, job.record, {directory.listing(): job.source})
    if _finished(job, directory) is not None:
        return _log_finished(job, directory)
    for note in job.source.notes:
        logger.warning("%s", note)
    log_drift(job.source)
    done = NOTHING if new else recover_committed_keys(directory, fence)
    present, done = size(done), with_keys(done, keys_of(job.source.retired))
    job, done = _without_abandoned(job, directory, done)
    job = _limited(_reconciled(job, directory, done))
    tasks = read_tasks(job.source, limits=job.limits, done=done)
    work = Attempt(record, directory, tasks, present, job.total, fence)
    history = manifest.read(directory.manifest)
    try:
        if isinstance(job.spec, BatchGroup) and job.spec.batch_file is not None:
            return write_requests(job, work)
        timing = write_rows(job, work)
    except RequestError:
        # Refused: nothing was done, so the output is free for another request.
        if new and not committed_tasks(directory):
            admission.release_output(directory)
        raise
    return finish_run(job, work, timing, history)


def _without_abandoned(job: Job, directory: RunDirectory, done: Ranges) -> tuple[Job, Ranges]:
    """Give up rows that somebody deleted from the output after they had left the input."""
    known = read_snapshot(directory.listing())
    lost = None if known is None else abandoned(known, done)
    if known is None or lost is None or not len(lost):
        return job, done
    logger.warning("%s: %d rows had left the input; they cannot be answered again", directory.output, len(lost))
    known = replace(known, retired=with_keys(known.retired, lost))
    write_snapshot(directory.listing(), known)
    return replace(job, source=replace(job.source, retired=known.retired)), with_keys(done, lost)


def _reconciled(job: Job, directory: RunDirectory, done: Ranges) -> Job:
    """Give the job the input as it can be read now; see `vqa_ray.readers.changes.reconcile`."""
    source = reconcile(job.source, done)
    known, names = read_snapshot(directory.listing()), read_anew(source, job.source, done)
    if names and known is not None:
        # From here on, these files belong to the run as they are now.
        write_snapshot(directory.listing(), refreshed(known, source, names))
    return replace(job, source=source)


def _limited(job: Job) -> Job:
    if job.spec.limit is None:
        return job
    return replace(job, limits=limits_for(job.source, job.spec.limit))


def _finished(job: Job, directory: RunDirectory) -> dict[str, Any] | None:
    """Read the manifest of a finished run; None if its rows are wrong or gone, or its input has grown."""
    content = manifest.read(directory.manifest)
    if content is None or content["findings"] or content["input"].get("shards") != len(job.source.shards):
        return None
    lost = lost_tasks(directory)
    if lost:
        logger.warning("%s: %d files of rows are gone; their rows are answered again", directory.output, len(lost))
        return None
    return content


def _log_finished(job: Job, directory: RunDirectory) -> RunResult:
    finished = manifest.read(directory.manifest)
    assert finished is not None
    logger.info("%s: this run has finished already (%s)", directory.output, finished["timing"]["finished"])
    log_drift(job.source)
    if job.write_derived is not None:
        job.write_derived([entry.uri for entry in directory.part_files()])
    return summary.log_summary(finished, directory.output, job.spec.max_error_fraction)

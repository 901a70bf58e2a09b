"""One execution of `answer`, `tag`, `caption` or `retrieve`: a run, the rest of one, or a retry of its failed rows."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime import admission, run_gallery, summary
from vqa_ray.jobs.runtime.commit import finish_run, recover_committed_keys, write_rows
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.output_file import check_page
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.recorded_input import log_drift
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.retry import require_finished, retry_failed
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run
from vqa_ray.keys import NOTHING, Ranges, size
from vqa_ray.readers.changes.reconcile import read_anew, reconcile
from vqa_ray.readers.changes.snapshot import read_snapshot, refreshed, write_snapshot
from vqa_ray.runs import manifest
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.commits import committed_tasks, lost_tasks
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.stages.read import limits_for, read_tasks

logger = logging.getLogger(__name__)


def run_job(job: Job) -> RunResult:
    """Run a job, or what is left of it, or answer its failed rows again.

    Raises:
        RequestError: the output holds something else, or the cluster is too small.
        RunError: the pipeline failed; the same command goes on from there.
    """
    check_page(job.spec.gallery)
    result = _execute(job)
    run_gallery.write(job)
    return result


def _execute(job: Job) -> RunResult:
    retry = job.spec.retry
    directory = RunDirectory(job.spec.output)
    admission.existing_record(directory, job.record)
    if retry is None and job.write_derived is None and _finished(job, directory) is not None:
        return _log_finished(job, directory)
    if retry is not None:
        # Before the lock, which would make a directory.
        require_finished(job)
    with output_lock(directory.output, job.record.started, wait=job.spec.wait) as lock, store_failures_fail_the_run():
        return _run(job, directory, lock.fence) if retry is None else retry_failed(_limited(job), retry, lock.fence)


def _run(job: Job, directory: RunDirectory, fence: Fence) -> RunResult:
    record, new = admission.claim_output(directory, job.record, {directory.listing(): job.source})
    if _finished(job, directory) is not None:
        return _log_finished(job, directory)
    for note in job.source.notes:
        logger.warning("%s", note)
    log_drift(job.source)
    done = NOTHING if new else recover_committed_keys(directory, fence)
    job = _limited(_reconciled(job, directory, done))
    tasks = read_tasks(job.source, limits=job.limits, done=done)
    work = Attempt(record, directory, tasks, size(done), job.total, fence)
    attempts = (manifest.read(directory.manifest) or {}).get("attempts", ())
    try:
        timing = write_rows(job, work)
    except RequestError:
        # Refused: nothing was done, so the output is free for another request.
        if new and not committed_tasks(directory):
            admission.release_output(directory)
        raise
    return finish_run(job, work, timing, attempts)


def _reconciled(job: Job, directory: RunDirectory, done: Ranges) -> Job:
    """Give the job the input as it can be read now; see `vqa_ray.readers.changes.reconcile`."""
    source = reconcile(job.source, done)
    known, names = read_snapshot(directory.listing()), read_anew(source, job.source)
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
    return None if job.spec.update and job.source.drift and job.source.drift.grown else content


def _log_finished(job: Job, directory: RunDirectory) -> RunResult:
    finished = manifest.read(directory.manifest)
    assert finished is not None
    logger.info("%s: this run has finished already (%s)", directory.output, finished["timing"]["finished"])
    log_drift(job.source)
    if job.write_derived is not None:
        job.write_derived([entry.uri for entry in directory.part_files()])
    return summary.log_summary(finished, directory.output, job.spec.max_error_fraction)

"""`--update`: bring a finished run up to date with its input, as an attempt that is published as a whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime import admission, summary
from vqa_ray.jobs.runtime.commit import recover_committed_keys, write_rows
from vqa_ray.jobs.runtime.delta_plan import UpdatePlan, plan_update
from vqa_ray.jobs.runtime.delta_publication import prepare, publish
from vqa_ray.jobs.runtime.job import Attempt, Job, rows_per_file
from vqa_ray.jobs.runtime.recorded_input import log_drift
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.spec.update_group import UpdatedSpec
from vqa_ray.keys import size
from vqa_ray.readers.changes.recorded_input import earlier_run
from vqa_ray.readers.changes.snapshot import InputSnapshot, read_snapshot, snapshot_of, write_snapshot
from vqa_ray.readers.changes.succession import delta_of, stale_tables, succeed
from vqa_ray.readers.open import open_source
from vqa_ray.readers.source import BENCHMARKS
from vqa_ray.runs import manifest
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.delete import delete_directory

logger = logging.getLogger(__name__)

# The entry in the record of an attempt that makes it an update.
_UPDATE = "update"
# What it says happens to rows that are gone.
_FORGETS, _MARKS = "forget", "mark"
# Of the rows of an update.
_FILES = 4


def update_run(job: Job, fence: Fence) -> RunResult:
    """Answer what is new or changed in the input of a finished run, and mark or leave out what is gone.

    The new rows are written as an attempt of their own, which can be killed and resumed like a run; then all of them
    take their places at once. An update that was cut short is finished first, then what came later is taken in.

    Args:
        job: the command, its source opened for an update.
        fence: the right to write to the output.

    Raises:
        RequestError: too many rows are gone, or another attempt is under way.
        RunError: see `vqa_ray.jobs.runtime.run.run_job`.
    """
    directory = RunDirectory(job.spec.output)
    result, is_resumed = _update(job, directory, fence)
    if is_resumed:
        result, _ = _update(reopened(job), directory, fence)
    return result


def reopened(job: Job) -> Job:
    """Open the input again, after the listing of the run has changed."""
    if job.source.format in BENCHMARKS:
        return job
    return replace(job, source=open_source(job.source.config, earlier_run(job.spec.output, update=job.spec.update)))


def _update(job: Job, directory: RunDirectory, fence: Fence) -> tuple[RunResult, bool]:
    """Make one update; gives its result, and whether it had been cut short before."""
    spec = job.spec
    assert isinstance(spec, UpdatedSpec)
    record, before = RunRecord.read(directory.record), manifest.read(directory.manifest)
    assert record is not None
    assert before is not None
    fence.check()
    for note in job.source.notes:
        logger.warning("%s", note)
    log_drift(job.source, updates=True)
    known = read_snapshot(directory.listing()) or snapshot_of(replace(job.source, added=(), added_files=()))
    now = succeed(known, job.source, forget=spec.forget)
    attempt = directory.later(manifest.next_attempt(before))
    if attempt.attempt > 2:
        delete_directory(directory.later(attempt.attempt - 1).parts)
    begun = _under_way(job, attempt, known, now)
    is_resumed = begun is not None
    after, forget = begun or (now, spec.forget)
    asks_all = any(record.command.get(name) != job.record.command.get(name) for name in job.may_differ)
    if not asks_all and not delta_of(known, after).has_work(after):
        logger.info("%s: up to date with %s", directory.output, spec.input)
        return summary.log_summary(before, directory.output, spec.max_error_fraction), False
    plan = plan_update(job, directory, known, after, forget=forget, asks_all=asks_all)
    plan.check_gone(spec.input, spec.max_gone, job.source.drift)
    updated = replace(
        record, command=job.record.command, input=admission.input_of(plan.source), versions=job.record.versions
    )
    if not is_resumed:
        write_snapshot(attempt.listing(), after)
        # Written after the listing: where there is a record, the listing is whole.
        replace(updated, command={**updated.command, _UPDATE: _FORGETS if forget else _MARKS}).write(attempt.record)
    return _answer(job, directory, attempt, plan, record=updated, before=before, fence=fence), is_resumed


def _answer(
    job: Job,
    directory: RunDirectory,
    attempt: RunDirectory,
    plan: UpdatePlan,
    *,
    record: RunRecord,
    before: Mapping[str, Any],
    fence: Fence,
) -> RunResult:
    """Write the rows of an update, or what is left of it, and publish them."""
    job = replace(job, source=plan.source)
    if job.spec.rows_per_file is None and plan.total is not None:
        rows = rows_per_file(plan.total, _FILES)
        job = replace(job, spec=job.spec.model_copy(update={"rows_per_file": rows}))
    done = recover_committed_keys(attempt, fence)
    work = Attempt(record, attempt, plan.tasks(done), size(done), plan.total, fence)
    timing = write_rows(job, work)
    prepared = prepare(job, work, plan, timing, before)
    fence.check()
    publish(job, directory, prepared)
    done_now = prepared.manifest["updates"][-1]
    logger.info("update: %s", ", ".join(f"{done_now[name]:,} {name}" for name in ("new", "changed", "gone", "kept")))
    return summary.log_summary(prepared.manifest, directory.output, job.spec.max_error_fraction)


def _under_way(
    job: Job, attempt: RunDirectory, known: InputSnapshot, now: InputSnapshot
) -> tuple[InputSnapshot, bool] | None:
    """Return the listing of an update that was cut short, and whether it forgets what is gone.

    None where there is none, or none that can be finished.

    Raises:
        RequestError: it was begun with another request, or it is a retry.
    """
    begun = RunRecord.read(attempt.record)
    if begun is None:
        delete_directory(attempt.parts)
        return None
    if _UPDATE not in begun.command:
        codes = ",".join(begun.command["retry_failed"])
        raise RequestError(
            f"--update: a retry is under way in {attempt.output}; finish it with --retry-failed {codes} first"
        )
    command = {name: value for name, value in begun.command.items() if name != _UPDATE}
    if _gives_up(job, attempt, replace(begun, command=command)):
        delete_directory(attempt.parts)
        return None
    after = read_snapshot(attempt.listing())
    assert after is not None
    stale = stale_tables(after, len(known.shards), now)
    if stale:
        logger.warning(
            "%s: an update was cut short, and %s has changed since: it begins anew", attempt.output, stale[0]
        )
        delete_directory(attempt.parts)
        return None
    logger.info("%s: an update that was cut short goes on", attempt.output)
    return after, begun.command[_UPDATE] == _FORGETS


def _gives_up(job: Job, attempt: RunDirectory, begun: RunRecord) -> bool:
    """Check whether an update that was cut short is given up for one with another taxonomy.

    Raises:
        RequestError: it was begun with another request that this one does not replace.
    """
    differences = begun.differences(job.record)
    if not differences:
        return False
    cut_short = f"{attempt.output}: an update with other options was cut short ({'; '.join(differences)})"
    if not job.may_differ:
        raise RequestError(
            f"--update: {cut_short}; finish it with the command it was begun with, or give it up: this command with "
            "--taxonomy-changed"
        )
    admission.require_same_request(attempt.output, begun.agreeing_in(job.may_differ, job.record), job.record)
    logger.warning("%s: it is given up", cut_short)
    return True

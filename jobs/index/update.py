"""One update of an index: what has changed is embedded as a run of its own, then published at once."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from vqa_ray.index import input_files as sources
from vqa_ray.index import version as versions
from vqa_ray.index.compatibility import require_compatible
from vqa_ray.index.garbage import expose
from vqa_ray.index.input_files import Difference
from vqa_ray.index.input_snapshot import write_input_snapshot
from vqa_ray.index.recovery import record_of
from vqa_ray.index.update import read_sources
from vqa_ray.index.update_plan import UpdatePlan
from vqa_ray.index.version import Version
from vqa_ray.jobs.index.open import IndexTask
from vqa_ray.jobs.index.pipeline import EmbedPipeline
from vqa_ray.jobs.index.publish import finish, publish
from vqa_ray.jobs.index.recover import delete_superseded, find_resumable_update, salvage_unfinished
from vqa_ray.jobs.runtime import admission as guard
from vqa_ray.jobs.runtime import summary
from vqa_ray.jobs.runtime.commit import finish_run, recover_committed_keys, write_rows
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.keys import NOTHING, Keys, size
from vqa_ray.runs import manifest
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.lock import OutputLock
from vqa_ray.stages.read import ReadShard, limits_for, read_tasks
from vqa_ray.storage.atomic import write_table_atomic

logger = logging.getLogger(__name__)

# Thumbnails are read a file at a time, a few kB each.
_MAX_ROWS_PER_FILE = 2_000


def update_index(task: IndexTask, lock: OutputLock) -> RunResult:
    """Embed what is new, take out what is gone, publish.

    Raises:
        RequestError: the index has become another one meanwhile.
        RunError: the pipeline failed; the same command goes on from there.
    """
    base = versions.latest(task.layout)
    if base is not None:
        require_compatible(task.layout.uri, task.kind, base)
        expose(task.layout, base)
    for note in task.source.notes:
        logger.warning("%s", note)
    changes = sources.difference(read_sources(task.layout, base), task.source)
    name = find_resumable_update(task, record_of(task.record, base), base)
    if name is None and changes:
        base, changes = salvage_unfinished(task, lock, base, changes)
    if name is None and not changes and base is not None:
        logger.info("%s: up to date with %s", task.layout.uri, task.spec.input)
        return finish(task, lock, base)
    number = base.number + 1 if base else 1
    name = name or f"{number:06}-{uuid.uuid4().hex[:8]}"
    return _update(task, lock, base, changes, name)


def _update(task: IndexTask, lock: OutputLock, base: Version | None, changes: Difference, name: str) -> RunResult:
    """Embed what is to be read as the update of that name, and publish it."""
    source = sources.restrict(task.source, changes.to_read)
    limits = None if task.spec.limit is None else limits_for(source, task.spec.limit)
    planned = sources.planned_files(source, name, limits)
    write_table_atomic(task.layout.plan(name), planned)
    write_input_snapshot(task.layout.origin(name), source)
    job = Job(
        record_of(task.record, base), task.spec, source, task.schema, EmbedPipeline(task.spec, task.model), limits
    )
    result = embed(job, task.layout.update(name), lock.fence, partial(read_tasks, source, limits=limits))
    if result.integrity_errors:
        return result
    plan = UpdatePlan(name, task.spec.input, task.record.started, changes, planned)
    parts = part_uris(task.layout.update(name))
    publish(task, lock, base, plan.delta(read_sources(task.layout, base), parts))
    delete_superseded(task)
    return result


def embed(
    job: Job, layout: RunDirectory, fence: Fence, tasks: Callable[..., list[ReadShard]], keys: Keys | None = None
) -> RunResult:
    """Write the rows of a job as a run in the directory of an update, or what is left of it.

    Args:
        job: what is asked.
        layout: of the run.
        fence: the right to write to the index.
        tasks: the shards to read, called with what is `done`.
        keys: int64 (N,), the rows that are read, where these are not all rows of the job's source.
    """
    rows_per_file = job.spec.rows_per_file or min(job.rows_per_file(job.total), _MAX_ROWS_PER_FILE)
    job = replace(job, spec=job.spec.model_copy(update={"rows_per_file": rows_per_file}))
    record, new = guard.claim_output(layout, job.record, {})
    finished = manifest.read(layout.manifest)
    if finished is not None:
        return summary.log_summary(finished, layout.output, job.spec.max_error_fraction)
    done = NOTHING if new else recover_committed_keys(layout, fence)
    work = Attempt(record, layout, tasks(done=done), size(done), job.total, fence)
    return finish_run(job, work, write_rows(job, work), keys=keys)


def part_uris(layout: RunDirectory) -> list[str]:
    """Return the files with the rows of a run."""
    return [entry.uri for entry in layout.part_files()]

"""`index --retry-failed`: rows without a vector are embedded again and take their places in the next version."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from functools import partial

from vqa_ray.index import version as versions
from vqa_ray.index.input_snapshot import read_input_snapshot
from vqa_ray.index.recovery import record_of
from vqa_ray.index.update import VersionDelta, read_sources
from vqa_ray.index.version import Update, Version
from vqa_ray.jobs.index.open import IndexTask
from vqa_ray.jobs.index.pipeline import EmbedPipeline
from vqa_ray.jobs.index.publish import publish
from vqa_ray.jobs.index.recover import find_resumable_update
from vqa_ray.jobs.index.update import embed, part_uris
from vqa_ray.jobs.runtime.job import Job
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.spec.retry_codes import Retry
from vqa_ray.keys import Keys, ranges_of
from vqa_ray.readers.source import parse_keep
from vqa_ray.runs.counts import failed_keys
from vqa_ray.runs.lock import OutputLock
from vqa_ray.stages.read import read_tasks

logger = logging.getLogger(__name__)


def retry_failed(task: IndexTask, lock: OutputLock, retry: Retry) -> RunResult:
    """Embed the failed rows again, those of each update that read some as an update of its own."""
    base = versions.latest(task.layout)
    assert base is not None
    result = RunResult(task.layout.uri)
    failed = _failed(task, base, retry)
    if not failed:
        logger.info("%s: %s", task.layout.uri, retry.nothing_message())
    for read_as, keys in failed.items():
        base, again = _again(task, lock, base, retry, read_as=read_as, keys=keys)
        result = result.worse(again)
        if result.integrity_errors:
            break
    return result


def _again(
    task: IndexTask, lock: OutputLock, base: Version, retry: Retry, *, read_as: str, keys: Keys
) -> tuple[Version, RunResult]:
    keep, keep_as = parse_keep(task.spec.keep)
    source = read_input_snapshot(task.layout.origin(read_as), tuple(task.schema.field(name) for name in keep_as), keep)
    wanted = record_of(task.record, base)
    record = replace(wanted, command={**wanted.command, "retry_failed": retry.names(), "of": read_as})
    name = find_resumable_update(task, record, base) or f"{base.number + 1:06}-{uuid.uuid4().hex[:8]}"
    layout = task.layout.update(name)
    job = Job(record, task.spec, source, task.schema, EmbedPipeline(task.spec, task.model))
    result = embed(job, layout, lock.fence, partial(read_tasks, source, keys=keys), keys)
    if result.integrity_errors:
        return base, result
    change = VersionDelta(
        update=Update(name, record.started, task.spec.input, 0, 0, 0),
        drop={read_as: ranges_of(keys)},
        parts=part_uris(layout),
        read_as=read_as,
        sources=read_sources(task.layout, base),
    )
    return publish(task, lock, base, change), result


def _failed(task: IndexTask, base: Version, retry: Retry) -> dict[str, Keys]:
    """Update → the keys of the rows it read that have failed, int64 (N,), ascending."""
    found = {}
    for name in dict.fromkeys(file.update for file in base.files):
        uris = [task.layout.path(file.path) for file in base.files if file.update == name]
        keys = failed_keys(uris, retry.codes)
        if len(keys):
            found[name] = keys
    return found

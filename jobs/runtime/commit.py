"""The steps of an execution that a run and a retry share: write the rows, check them, write the manifest."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vqa_ray.jobs.runtime import admission, summary
from vqa_ray.jobs.runtime.answer_cache import recorded
from vqa_ray.jobs.runtime.execute import Execution, execute
from vqa_ray.jobs.runtime.images_seen import images_seen
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.keys import Keys, Ranges, keys_of, ranges_of, size
from vqa_ray.readers import Source
from vqa_ray.report.dataset_card import data_files, dataset_card
from vqa_ray.runs import commits, ledger, manifest
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.completeness import integrity_errors, unexpected_keys
from vqa_ray.runs.counts import RowCounts, count_rows
from vqa_ray.runs.directory import CARD, FOR_DATASETS, PART_PREFIX, PART_SUFFIX, RunDirectory
from vqa_ray.runs.opinion_counts import count_opinions
from vqa_ray.runs.part_files import row_count
from vqa_ray.runs.private_names import PRIVATE_SUFFIX
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.uri import join
from vqa_ray.types import total_usage

logger = logging.getLogger(__name__)


def recover_committed_keys(directory: RunDirectory, fence: Fence) -> Ranges:
    """Clean up after a process that died, and give the rows that are written: int64 (R, 2) ranges of source_keys.

    Only files that were never committed and second copies of rows are deleted.
    """
    fence.check()
    commits.clean_uncommitted(directory)
    keys = commits.keys_by_task(directory)
    commits.remove_repeated_rows(directory, keys)
    done = ranges_of(np.concatenate([np.empty(0, np.int64), *keys.values()]))
    if len(done):
        logger.info("%s: resumed, %d rows are written already", directory.output, size(done))
    return done


def write_rows(job: Job, work: Attempt) -> manifest.Timing:
    """Run the pipeline over the rows that are not written yet."""
    started, begun = admission.now(), time.monotonic()
    done: Execution | None = None
    if work.tasks:
        before = set(commits.committed_tasks(work.directory))
        invocation = f"{PART_PREFIX}{uuid.uuid4().hex[:8]}"
        done = execute(job, work, invocation)
        work.fence.check()
        commits.clean_uncommitted(work.directory)
        others = set(commits.committed_tasks(work.directory)) - before
        if any(not task.startswith(invocation) for task in others):
            copies = commits.remove_repeated_rows(work.directory, commits.keys_by_task(work.directory))
            logger.warning("a process that died wrote %d rows late; one copy of each is kept", copies)
    rows = sum(row_count(uri) for uri in commits.committed_tasks(work.directory).values())
    seconds = time.monotonic() - begun
    here = rows - work.present
    if done is None:
        return manifest.Timing(started, admission.now(), seconds, here, {}, 0)
    cache = recorded(str(getattr(job.spec, "cache", None)), done.cache) if done.cache else None
    seen = images_seen(job, done)
    return manifest.Timing(started, admission.now(), seconds, here, done.stages_s, done.spilled_bytes, cache, seen)


def finish_run(
    job: Job,
    work: Attempt,
    timing: manifest.Timing,
    history: Mapping[str, Any] | None = None,
    keys: Keys | None = None,
) -> RunResult:
    """Check that every row is there once, write the manifest, log the summary.

    Args:
        job: the command.
        work: the rows that were written.
        timing: of writing them.
        history: a manifest with the entries for retries, the last one included, and for updates.
        keys: int64 (N,), the expected rows; None for the rows of all shards.
    """
    work.fence.check()
    directory = work.directory.later(1)
    parts = [entry.uri for entry in directory.part_files()]
    if not parts:
        none = join(
            directory.parts, f"{PART_PREFIX}empty{PRIVATE_SUFFIX if directory.has_private_parts else PART_SUFFIX}"
        )
        write_table_atomic(none, job.file_schema(work.record).empty_table())
        parts = [none]
    counts = count_rows(parts)
    if keys is None:
        found = integrity_errors(every_key(counts, job.source), job.known_rows(), counts.malformed, counts.torn)
    else:
        found = unexpected_keys(counts.keys, keys)
    if job.write_derived is not None:
        job.write_derived(parts)
    content = with_models(job, parts, manifest.build(work.record, counts, timing, found, history))
    work.fence.check()
    if work.record.job != "index":
        card = dataset_card(content, job.schema)
        write_bytes_atomic(join(directory.output, CARD), card.encode())
        write_bytes_atomic(join(directory.output, FOR_DATASETS), data_files().encode())
    manifest.write(directory.manifest, content)
    return summary.log_summary(content, directory.output, job.spec.max_error_fraction)


def every_key(counts: RowCounts, source: Source) -> Keys:
    """List the keys of all rows of an output, and those that updates have done away with."""
    return np.concatenate([counts.keys, keys_of(source.retired)])


def with_models(job: Job, parts: Sequence[str], content: dict[str, Any]) -> dict[str, Any]:
    """Add to a manifest what endpoints have taken, and what its rows say of the models beside the first."""
    usage = total_usage(ledger.read(RunDirectory(job.spec.output).usage))
    if usage is not None:
        content = {**content, "usage": asdict(usage)}
    if job.second is None:
        return content
    model = job.second.model
    if "decided_by" not in job.schema.names:
        return {**content, "second_model": model.record(model.score_meaning)}
    opinions = asdict(count_opinions(parts))
    return {**content, "second_opinion": {"model": model.record(model.score_meaning), **opinions}}

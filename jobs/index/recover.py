"""Updates of an index that were cut short: resumed, salvaged as far as they came, or deleted."""

from __future__ import annotations

import logging

import pyarrow as pa

from vqa_ray.index import version as versions
from vqa_ray.index.input_files import NONE, SOURCES, Difference, difference, input_name
from vqa_ray.index.recovery import UnfinishedUpdate, is_same_index, resumable_update, salvageable
from vqa_ray.index.update import read_sources
from vqa_ray.index.update_plan import UpdatePlan
from vqa_ray.index.version import Version
from vqa_ray.jobs.index.open import IndexTask
from vqa_ray.jobs.index.publish import publish
from vqa_ray.jobs.runtime import admission
from vqa_ray.runs import commits, manifest
from vqa_ray.runs.counts import count_rows
from vqa_ray.runs.lock import OutputLock
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.delete import delete_directory

logger = logging.getLogger(__name__)


def find_resumable_update(task: IndexTask, wanted: RunRecord, base: Version | None) -> str | None:
    """Find the update that this very command began and did not finish.

    Raises:
        RequestError: a first update was begun otherwise: with another model, for instance.
    """
    unfinished = _unfinished(task)
    name = resumable_update(unfinished, wanted)
    if name is None and base is None:
        for update in unfinished:
            if not is_same_index(update.record, wanted):
                admission.require_same_request(task.layout.uri, update.record, wanted)
    return name


def salvage_unfinished(
    task: IndexTask, lock: OutputLock, base: Version | None, changes: Difference
) -> tuple[Version | None, Difference]:
    """Publish the sources that updates which were cut short have written whole.

    Their input or the index has changed since, so they cannot be resumed.

    Returns:
        The version after it, and what is still to be read.
    """
    for update in _unfinished(task):
        if not is_same_index(update.record, task.record):
            continue
        layout = task.layout.update(update.name)
        lock.check()
        commits.clean_uncommitted(layout)
        parts = [each.uri for each in layout.part_files()]
        written, keys = commits.committed_keys(layout), count_rows(parts).keys
        planned = salvageable(_planned(task, update.name), written, keys, task.source, changes.to_read)
        if not planned.num_rows:
            continue
        plan = UpdatePlan(update.name, task.spec.input, task.record.started, changes, planned)
        logger.info(
            "%s: %d sources of an update that was cut short are kept",
            task.layout.uri,
            len(set(planned["uri"].to_pylist())),
        )
        base = publish(task, lock, base, plan.salvage(read_sources(task.layout, base), parts))
        changes = difference(read_sources(task.layout, base), task.source)
    return base, changes


def delete_superseded(task: IndexTask) -> None:
    """Delete what is left of updates of the same input that were cut short: it is in the index, or out of date."""
    for name in _unpublished(task):
        record = RunRecord.read(task.layout.update(name).record)
        if record is not None and input_name(record.input["uri"]) == input_name(task.spec.input):
            delete_directory(task.layout.update(name).output)


def _unfinished(task: IndexTask) -> list[UnfinishedUpdate]:
    found = []
    for name in _unpublished(task):
        layout = task.layout.update(name)
        record, concluded = RunRecord.read(layout.record), manifest.read(layout.manifest)
        if record is not None and not (concluded and concluded["findings"]):
            found.append(UnfinishedUpdate(name, record))
    return found


def _unpublished(task: IndexTask) -> list[str]:
    published = versions.published_updates(task.layout)
    return [name for name in task.layout.update_names() if name not in published]


def _planned(task: IndexTask, name: str) -> pa.Table:
    """Return SOURCES that an update set out to read."""
    for uri in (task.layout.plan(name), task.layout.former_plan(name)):
        try:
            return read_columns(uri).cast(SOURCES)
        except FileNotFoundError:
            continue
    return NONE

"""Updates of an index that were cut short: gone on with, taken in as far as they came, or thrown away."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vqa_ray.index import input_files as sources
from vqa_ray.index import version as versions
from vqa_ray.index.input_files import Difference
from vqa_ray.index.update import VersionDelta, read_sources
from vqa_ray.index.version import Version
from vqa_ray.jobs.index.open import IndexTask
from vqa_ray.jobs.index.publish import entry, publish
from vqa_ray.jobs.index.spec import OF_ONE_UPDATE
from vqa_ray.jobs.runtime import admission as guard
from vqa_ray.keys import Ranges
from vqa_ray.runs import commits, manifest
from vqa_ray.runs.counts import count_rows
from vqa_ray.runs.lock import OutputLock
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.delete import delete_directory

logger = logging.getLogger(__name__)

_BASE = "base_version"


def record_of(task: IndexTask, base: Version | None) -> RunRecord:
    """What is asked of one update: the command, and the version it goes on from."""
    return replace(task.record, command={**task.record.command, _BASE: base.number if base else 0})


def find_resumable_update(task: IndexTask, wanted: RunRecord, base: Version | None) -> str | None:
    """The update that this very command began and did not finish.

    Raises:
        RequestError: a first update was begun otherwise: with another model, for instance.
    """
    for name, record in _unfinished(task):
        if not record.differences(wanted) and record.input["fingerprint"] == wanted.input["fingerprint"]:
            return name
        if base is None and _shared(record) != _shared(wanted):
            guard.require_same_request(task.layout.uri, record, wanted)
    return None


def salvage_unfinished(
    task: IndexTask, lock: OutputLock, base: Version | None, changes: Difference
) -> tuple[Version | None, Difference]:
    """Publish what updates that were cut short have written of what is still to be read.

    Their input or the index has changed since, so they cannot be gone on with; their whole sources are still good.

    Returns:
        The version after it, and what is still to be read.
    """
    for name, record in _unfinished(task):
        if _shared(record) != _shared(task.record):
            continue
        layout = task.layout.update(name)
        lock.check()
        commits.clean_uncommitted(layout)
        planned = sources.completely_written(_plan(task, name), commits.committed_keys(layout))
        planned = sources.unchanged_since(planned, task.source, changes.to_read)
        parts = [each.uri for each in layout.part_files()]
        keys = count_rows(parts).keys
        if not planned.num_rows or len(np.unique(keys)) < len(keys):
            continue
        known = read_sources(task.layout, base)
        uris = set(planned["uri"].to_pylist())
        change = VersionDelta(
            update=entry(task, replace(changes, gone=()), planned, name),
            drop=sources.keys_by_update(known, uris),
            parts=parts,
            read_as=name,
            sources=pa.concat_tables([sources.without_files(known, uris), planned]),
            only=_ranges(planned),
        )
        logger.info("%s: %d sources of an update that was cut short are kept", task.layout.uri, len(uris))
        base = publish(task, lock, base, change)
        changes = sources.difference(read_sources(task.layout, base), task.source)
    return base, changes


def discard(task: IndexTask) -> None:
    """Delete what is left of updates of the same input that were cut short: it is in the index, or out of date."""
    for name in _unpublished(task):
        record = RunRecord.read(task.layout.update(name).record)
        if record is not None and sources.input_name(record.input["uri"]) == sources.input_name(task.spec.input):
            delete_directory(task.layout.update(name).output)


def _unfinished(task: IndexTask) -> list[tuple[str, RunRecord]]:
    """The updates whose rows, as far as they are written, can be relied on."""
    found = []
    for name in _unpublished(task):
        layout = task.layout.update(name)
        record, concluded = RunRecord.read(layout.record), manifest.read(layout.manifest)
        if record is not None and not (concluded and concluded["findings"]):
            found.append((name, record))
    return found


def _unpublished(task: IndexTask) -> list[str]:
    published = versions.published_updates(task.layout)
    return [name for name in task.layout.update_names() if name not in published]


def _shared(record: RunRecord) -> tuple[object, object]:
    command = {name: value for name, value in record.command.items() if name not in (*OF_ONE_UPDATE, _BASE)}
    return record.model["fingerprint"], command


def _plan(task: IndexTask, name: str) -> pa.Table:
    for uri in (task.layout.plan(name), task.layout.former_plan(name)):
        try:
            return read_columns(uri).cast(sources.SOURCES)
        except FileNotFoundError:
            continue
    return sources.NONE


def _ranges(planned: pa.Table) -> Ranges:
    ordered = planned.sort_by("first_key")
    return np.stack([ordered["first_key"].to_numpy(), ordered["last_key"].to_numpy()], axis=1)

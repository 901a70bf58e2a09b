"""The publication of an update: its files are prepared and checked, then put in place as a whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vqa_ray.errors import RunError
from vqa_ray.jobs.runtime.commit import every_key, with_models
from vqa_ray.jobs.runtime.delta_plan import UpdatePlan
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.keys import Keys
from vqa_ray.readers.changes.snapshot import write_snapshot
from vqa_ray.report.dataset_card import dataset_card
from vqa_ray.runs import manifest
from vqa_ray.runs.apply_update import UpdatedParts
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.commits import committed_tasks, parts_by_task
from vqa_ray.runs.completeness import integrity_errors
from vqa_ray.runs.counts import count_rows, keys_of_parts
from vqa_ray.runs.directory import CARD, RunDirectory
from vqa_ray.runs.private_names import PRIVATE_SUFFIX, private, public
from vqa_ray.runs.publication import Publication
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.delete import delete_directory
from vqa_ray.storage.filesystem import filesystem_for
from vqa_ray.storage.uri import join, name_of

logger = logging.getLogger(__name__)

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class PreparedUpdate:
    """An update whose files are ready.

    Attributes:
        publication: which file takes which place.
        manifest: of the run afterwards.
    """

    publication: Publication
    manifest: Mapping[str, Any]


class _Files:
    """The prepared files of an update, in the directory of its attempt."""

    def __init__(self, directory: RunDirectory, attempt: RunDirectory) -> None:
        self._output, self._prepared = directory.output, attempt.prepared
        self.pairs: list[tuple[str, str]] = []

    def place(self, target: str, name: str = "") -> str:
        """Return where to write the file that takes the place of `target`."""
        uri = join(self._prepared, name or name_of(target))
        self.pairs.append((_below(target, self._output), _below(uri, self._output)))
        return uri


def prepare(
    job: Job, work: Attempt, plan: UpdatePlan, timing: manifest.Timing, before: Mapping[str, Any]
) -> PreparedUpdate:
    """Write the files of the run as they are after an update, and check that every row is there once.

    Args:
        job: the command, with the input after the update.
        work: the rows of the update, all written.
        plan: the update.
        timing: of writing them.
        before: the manifest before.

    Raises:
        RunError: rows are missing or doubled; nothing is published.
    """
    attempt, directory = work.directory, work.directory.later(1)
    delete_directory(attempt.prepared)
    form = job.file_schema(work.record) if plan.asks_all else None
    made = UpdatedParts(plan.changes, [entry.uri for entry in attempt.part_files()], form)
    files = _Files(directory, attempt)
    commits, tasks = committed_tasks(directory), parts_by_task(directory)
    leaving = plan.changes.leaving

    def rewrite(task: str) -> list[str]:
        after, keys, is_changed = [], [np.empty(0, np.int64)], False
        for uri in tasks[task]:
            table = made.of_part(uri)
            if table is None:
                after.append(uri)
                keys.append(_keys(uri))
                continue
            before_keys = _keys(uri)
            is_changed |= bool(np.isin(before_keys, leaving).any())
            after.append(files.place(uri, private(name_of(uri))))
            write_table_atomic(after[-1], table)
            keys.append(np.unique(table["source_key"].to_numpy()))
        if is_changed and task in commits:
            _write_commit(files.place(commits[task], _commit_name(task)), np.concatenate(keys))
        return after

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = [uri for uris in pool.map(rewrite, sorted(tasks)) for uri in uris]
    commits, tasks = committed_tasks(attempt), parts_by_task(attempt)
    for task, uris in tasks.items():
        keys = []
        for uri in uris:
            table = made.of_update(uri)
            if table.num_rows:
                parts.append(files.place(join(directory.output, public(name_of(uri))), name_of(uri)))
                write_table_atomic(parts[-1], table.replace_schema_metadata(job.file_schema(work.record).metadata))
                keys.append(table["source_key"].to_numpy())
        if keys:
            below = _below(commits[task], attempt.checkpoint)
            _write_commit(files.place(join(directory.checkpoint, below), _commit_name(task)), np.concatenate(keys))
    counts = count_rows(parts)
    found = integrity_errors(every_key(counts, job.source), job.known_rows(), counts.malformed, counts.torn)
    if found:
        delete_directory(attempt.parts)
        raise RunError(f"{directory.output}: the update is not published: {'; '.join(found)}")
    entry = _history(plan, work, timing, len(counts.keys))
    history = {**before, "updates": [*before.get("updates", ()), entry]}
    content = with_models(job, parts, manifest.build(work.record, counts, timing, [], history))
    content["updates"][-1] |= _spent(before.get("usage"), content.get("usage"))
    work.record.write(files.place(directory.record))
    write_snapshot(files.place(directory.listing()), plan.snapshot)
    manifest.write(files.place(directory.manifest), content)
    card = dataset_card(content, job.schema)
    write_bytes_atomic(files.place(join(directory.output, CARD)), card.encode())
    return PreparedUpdate(Publication(_below(attempt.parts, directory.output), tuple(files.pairs)), content)


def publish(job: Job, directory: RunDirectory, prepared: PreparedUpdate) -> None:
    """Make a prepared update the state of the run, and derive what is derived from its rows."""
    prepared.publication.commit(directory.publication)
    _put_in_place(job, directory, prepared.publication)


def finish_publication(job: Job, directory: RunDirectory, fence: Fence) -> None:
    """Finish the publication of an update that a process did not live to finish."""
    pending = Publication.read(directory.publication)
    if pending is None:
        return
    fence.check()
    logger.info("%s: an update whose publication was cut short is put in place", directory.output)
    _put_in_place(job, directory, pending)


def _put_in_place(job: Job, directory: RunDirectory, publication: Publication) -> None:
    publication.apply(directory.output)
    if job.write_derived is not None:
        job.write_derived([entry.uri for entry in directory.part_files()])
    publication.close(directory.publication, directory.output)


def _history(plan: UpdatePlan, work: Attempt, timing: manifest.Timing, rows: int) -> dict[str, Any]:
    """Return the entry of an update in the manifest, in input rows."""
    changed, gone = len(plan.changes.replaced), len(plan.changes.gone)
    return {
        "attempt": work.directory.attempt,
        "started": timing.started,
        "finished": timing.finished,
        "new": rows - len(plan.before) + (gone if plan.changes.forget else 0),
        "changed": changed,
        "gone": gone,
        "kept": plan.kept,
        "forgotten": plan.changes.forget,
        "asked": timing.rows_here + work.present,
        "duration_s": timing.duration_s,
        "stages_s": dict(timing.stages_s),
    }


def _spent(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what an update took of an endpoint: the difference of what the run has taken."""
    if after is None:
        return {}
    return {"usage": {name: value and value - ((before or {}).get(name) or 0) for name, value in after.items()}}


def _below(uri: str, directory: str) -> str:
    """Return the path of a file below a directory, however either is spelled: listings give absolute paths."""
    path, above = filesystem_for(uri)[1], filesystem_for(directory)[1].rstrip("/") + "/"
    assert path.startswith(above), (path, above)
    return path.removeprefix(above)


def _commit_name(task: str) -> str:
    return f"commit-{task}{PRIVATE_SUFFIX}"


def _write_commit(uri: str, keys: Keys) -> None:
    write_table_atomic(uri, pa.table({"source_key": pa.array(np.unique(keys), pa.int64())}))


def _keys(uri: str) -> Keys:
    return np.unique(keys_of_parts([uri])[:, 0])

"""From written rows to a version that readers see: what is derived from them, then one exclusive write."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from vqa_ray.durations import duration
from vqa_ray.errors import RunError, one_line
from vqa_ray.index import version as versions
from vqa_ray.index.ann import build as ann
from vqa_ray.index.garbage import clean_up, expose
from vqa_ray.index.reader import Index
from vqa_ray.index.search.recall import with_measured_recall
from vqa_ray.index.update import VersionDelta, apply, conflicting_ids
from vqa_ray.index.version import AnnState, Version
from vqa_ray.jobs.index.duplicates import report
from vqa_ray.jobs.index.open import IndexTask
from vqa_ray.jobs.runtime import admission as guard
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.report.dataset_card import data_files, dataset_card
from vqa_ray.runs.directory import CARD, FOR_DATASETS
from vqa_ray.runs.lock import OutputLock
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.delete import delete_directory

logger = logging.getLogger(__name__)


def publish(task: IndexTask, lock: OutputLock, base: Version | None, change: VersionDelta) -> Version:
    """Make the next version of what an update has written.

    Raises:
        RunError: rows have unusable vectors, or another process has published meanwhile.
    """
    version = apply(task.layout, base, task.kind, change, guard.now())
    version = replace(version, ann=_approximate(task, base, version))
    _publish(task, lock, version)
    clean_up(task.layout, version, base)
    update = change.update
    logger.info(
        "%s: version %d: %d rows, %d with a vector; %d sources added, %d replaced, %d removed",
        task.layout.uri,
        version.number,
        version.rows,
        version.ok,
        update.added,
        update.replaced,
        update.removed,
    )
    _tell(task, version)
    return version


def finish(task: IndexTask, lock: OutputLock, base: Version) -> RunResult:
    """With nothing to embed: derive what is asked for and not there."""
    state = _approximate(task, base, base)
    if state != base.ann:
        version = replace(base, number=base.number + 1, created=guard.now(), ann=state)
        _publish(task, lock, version)
        clean_up(task.layout, version, base)
        base = version
    _tell(task, base)
    return RunResult(task.layout.uri, base.rows, base.ok, base.rows - base.ok)


def _publish(task: IndexTask, lock: OutputLock, version: Version) -> None:
    lock.check()
    if not versions.publish(task.layout, version):
        raise RunError(
            f"{task.layout.uri}: another process has published version {version.number} meanwhile; what was embedded "
            "is kept, run the same command again"
        )
    expose(task.layout, version)
    files = [file.path for file in version.files]
    write_bytes_atomic(task.layout.path(FOR_DATASETS), data_files(files).encode())
    counts = {"rows": version.rows, "ok": version.ok, "failed": version.rows - version.ok, "errors": {}}
    content = {"job": "index", "model": version.model, **counts}
    card = dataset_card(content, Index(task.layout, version).schema, files)
    write_bytes_atomic(task.layout.path(CARD), card.encode())


def _tell(task: IndexTask, version: Version) -> None:
    if not version.ok:
        logger.warning("%s: the index is empty: no image has a vector; every search finds nothing", task.layout.uri)
    conflicts = conflicting_ids(task.layout, version.files)
    if conflicts:
        logger.warning("%s: %d row_ids stand for different images (sha256)", task.layout.uri, conflicts)
    if version.ann is not None and version.ann.partitions:
        logger.info(
            "  approximate search: %d partitions, %d sub-vectors, recall@%d %.3f over %d of its images",
            version.ann.partitions,
            version.ann.sub_vectors,
            version.ann.recall_k,
            version.ann.recall or 0.0,
            version.ann.recall_queries,
        )
    if task.spec.dedupe is not None:
        report(task, version, task.spec.dedupe)


def _approximate(task: IndexTask, base: Version | None, version: Version) -> AnnState | None:
    """Return the approximate index of a version: that of the one before extended, one built anew, or none."""
    has_one = base is not None and base.ann is not None
    if not ann.is_wanted(task.spec.ann, version, has_one=has_one):
        return None
    if not ann.is_installed():
        logger.warning(
            "%s: search will be exact: the approximate one needs pip install 'vqa-ray[index]'", task.layout.uri
        )
        return None
    if base is not None and base.ann is not None and not task.spec.rebuild_ann:
        try:
            begun = time.monotonic()
            state = ann.extend(task.layout, base, version)
            if state is not None:
                if base is not version:
                    logger.info("%s: approximate index brought up to date in %s", task.layout.uri, _since(begun))
                return state
        except ann.ERRORS as error:
            logger.warning("%s: the approximate index is damaged (%s)", task.layout.uri, one_line(error, 200))
    begun = time.monotonic()
    name = version.updates[-1].name if base is not version else f"{version.number + 1:06}-rebuilt"
    path = task.layout.ann(name)
    # What a process that died has left there is of no use.
    delete_directory(task.layout.path(path))
    state = ann.build(task.layout, version, path)
    logger.info("%s: approximate index built in %s", task.layout.uri, _since(begun))
    return with_measured_recall(task.layout, version, state)


def _since(begun: float) -> str:
    return duration(time.monotonic() - begun)

"""What an output already knows of the input that a command names: the files that its run began with."""

from __future__ import annotations

import logging

from vqa_ray.errors import RequestError
from vqa_ray.readers import EarlierRun, Source
from vqa_ray.readers.changes.snapshot import read_snapshot
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.store_errors import store_failures, store_reason

logger = logging.getLogger(__name__)

INPUT, VALIDATION = "input", "validation"


def earlier_run(output: str, name: str = INPUT, *, update: bool = False) -> EarlierRun:
    """What a run directory knows of one of its inputs.

    Args:
        output: the run directory; a new one knows nothing.
        name: `input`, or `validation` of a training.
        update: whether to take in what was added since.

    Raises:
        RequestError: the directory cannot be read.
    """
    layout = RunDirectory(output)
    try:
        record = RunRecord.read(layout.record)
        snapshot = None if record is None else read_snapshot(layout.listing(name))
    except store_failures() as error:
        raise RequestError(f"--output {output}: cannot be read: {store_reason(error)}") from error
    if record is None or snapshot is not None:
        return EarlierRun(output, snapshot, update=update)
    # Versions before 0.2 kept a fingerprint of the files and nothing more.
    uri, fingerprint = record.input["uri"], record.input["fingerprint"]
    if name == VALIDATION:
        uri, fingerprint = record.command.get("validation"), record.command.get("validation_fingerprint")
    return EarlierRun(output, None, uri or "", fingerprint or "", record.started, update=update)


def tell_drift(source: Source, *, trains: bool = False) -> None:
    """Say what has changed in an input since the run began, and what becomes of it.

    Args:
        source: of the run.
        trains: whether it is a training, which takes nothing in.
    """
    drift = source.drift
    if not drift:
        return
    logger.warning("%s: %s", source.config.uri, drift)
    if drift.added and trains:
        logger.warning("  what was added is left out; another --output trains on it")
    elif drift.added:
        logger.warning("  what was added is left out; --update takes it in, or another --output answers it by itself")
    if drift.grown and not trains:
        logger.warning("  a run that goes on answers the lines that were added, too; for a finished one --update does")
    if drift.taken_in:
        logger.warning("  what was added is taken in (--update)")
    if drift.changed and not trains:
        logger.warning("  rows that are not written yet are read as they are now; the others stay as they are")
    if drift.gone and source.format == "images" and not trains:
        logger.warning("  rows of what is gone that are not written yet become errors (image_missing)")

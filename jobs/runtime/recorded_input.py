"""Messages on what has changed in the input of a run."""

from __future__ import annotations

import logging

from vqa_ray.readers import Source

logger = logging.getLogger(__name__)


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

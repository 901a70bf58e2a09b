"""Messages on what has changed in the input of a run."""

from __future__ import annotations

import logging

from vqa_ray.readers import Source

logger = logging.getLogger(__name__)


def log_drift(source: Source, *, trains: bool = False, updates: bool = False) -> None:
    """Log what has changed in an input since the run began, and what happens to it.

    Args:
        source: of the run.
        trains: whether the run is a training, which adds nothing to its input.
        updates: whether the run is brought up to date with all of it.
    """
    drift = source.drift
    if not drift:
        return
    logger.log(logging.INFO if updates else logging.WARNING, "%s: %s", source.config.uri, drift)
    if updates:
        return
    if drift.added and trains:
        logger.warning("  added files are left out; another --output trains on them")
    elif drift.added:
        logger.warning(
            "  added files are left out; --update takes them in, or another --output answers them by themselves"
        )
    if drift.grown and not trains:
        logger.warning("  a resumed run answers added lines, too; for a finished run, --update does")
    if drift.changed and not trains:
        logger.warning("  rows that are not written yet are read as they are now; the others stay as they are")
    if drift.gone and source.format == "images" and not trains:
        logger.warning("  rows of missing files that are not written yet become errors (image_missing)")

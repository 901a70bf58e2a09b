"""The near-duplicates of an index, reported."""

from __future__ import annotations

import logging
import time

import numpy as np
import pyarrow as pa

from vqa_ray.durations import duration
from vqa_ray.index.duplicates import groups, scores_to_first
from vqa_ray.index.reader import Index
from vqa_ray.index.version import Version
from vqa_ray.jobs.index.open import IndexTask
from vqa_ray.storage.atomic import write_table_atomic

logger = logging.getLogger(__name__)

_FORM = pa.schema(
    [
        pa.field("group", pa.int64(), nullable=False),
        pa.field("row_id", pa.int64(), nullable=False),
        pa.field("image_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("sha256", pa.string()),
        # To the first image of the group.
        pa.field("score", pa.float32(), nullable=False),
    ]
)


def report(task: IndexTask, version: Version, threshold: float) -> None:
    """Write the groups of images at least so alike, and tell of them."""
    begun = time.monotonic()
    index = Index(task.layout, version)
    vectors, positions = index.vectors()
    duplicates = groups(vectors, version.vectors, threshold)
    rows = index.rows(["row_id", "image_id", "image_uri", "sha256"])
    members = np.concatenate([np.empty(0, np.int64), *duplicates])
    table = rows.take(pa.array(positions[members]))
    numbers = np.repeat(np.arange(len(duplicates)), [len(group) for group in duplicates])
    scores = np.concatenate(
        [np.empty(0, np.float32), *(scores_to_first(vectors, version.vectors, g) for g in duplicates)]
    )
    table = table.add_column(0, "group", pa.array(numbers, pa.int64())).append_column("score", pa.array(scores))
    uri = task.layout.duplicates(version.number)
    write_table_atomic(uri, table.cast(_FORM))
    logger.info(
        "  near-duplicates (score at least %g): %d images in %d groups, found in %s → %s",
        threshold,
        len(members),
        len(duplicates),
        duration(time.monotonic() - begun),
        uri,
    )

"""Tables as they reach a training process."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.training.data.row_schema import TRAINING_FIELDS

SCHEMA = schema.with_kept(schema.DECODED, TRAINING_FIELDS)


def row_of(
    key: int, step: int = 0, size: tuple[int, int] = (4, 6), question: str = "what?", **more: Any
) -> dict[str, Any]:
    """One row whose pixels are drawn from its key."""
    height, width = size
    pixels = np.random.default_rng(key).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return {
        "source_key": key,
        "row_id": key + 1000,
        "questions": [question],
        "image_key": key,
        "pixels": pixels.tobytes(),
        "height": height,
        "width": width,
        "source_height": height,
        "source_width": width,
        "status": schema.STATUS_OK,
        "step": step,
        "label_ids": [],
        "label_weights": [],
        "auxiliary": [],
        **more,
    }


def failed_row(key: int, step: int = 0, code: str = "image_undecodable") -> dict[str, Any]:
    """One row whose image could not be decoded."""
    nothing = dict.fromkeys(["image_key", "pixels", "height", "width", "source_height", "source_width"])
    status = {"status": schema.STATUS_ERROR, "error_code": code, "error_message": f"row {key} is broken"}
    return {**row_of(key, step), **nothing, **status}


def table_of(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """The rows as one table."""
    return pa.Table.from_pylist(list(rows), SCHEMA)


def cut_at(table: pa.Table, places: Sequence[int]) -> list[pa.Table]:
    """The table in pieces, some of them empty, that share its buffers."""
    bounds = [0, *sorted(place % (table.num_rows + 1) for place in places), table.num_rows]
    return [table.slice(start, stop - start) for start, stop in itertools.pairwise(bounds)]

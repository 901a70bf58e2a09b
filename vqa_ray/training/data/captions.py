"""The captions of images: what of a column's values are captions, and which of several is learnt from. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from vqa_ray import schema

CAPTION = "caption"
"""The type of all that is right where captions are learnt from."""

NO_CAPTION = "no_caption"
"""Stands beside the error codes for rows that say nothing of their image."""


def captions_of(value: object) -> list[str]:
    """Return the captions in a value of the column, a string or a list of them, without those null or blank."""
    given: list[Any] = value if isinstance(value, list) else [value]
    stripped = [(text or "").strip() for text in given]
    return [text for text in stripped if text]


def with_captions(table: pa.Table, column: str) -> pa.Table:
    """Put the captions of READ rows where questions stand.

    Args:
        table: READ columns, then `column`.
        column: of the captions.
    """
    captions = [captions_of(value) for value in table[column].to_pylist()]
    index = table.schema.get_field_index("questions")
    changed = table.drop_columns([column]).set_column(
        index, schema.READ.field(index), pa.array(captions, pa.list_(pa.string()))
    )
    return changed.cast(schema.READ)


def caption_for_epoch(source_key: int, count: int, epoch: int, seed: int) -> int:
    """Choose the caption of a row that an epoch learns from: the same wherever the row is read.

    Each comes once before any comes again.

    Args:
        source_key: of the row.
        count: of the row's captions, at least 1.
        epoch: from 0.
        seed: of the order.
    """
    if count == 1:
        return 0
    order = np.random.default_rng([seed, source_key, epoch // count]).permutation(count)
    return int(order[epoch % count])

"""Small indices of training rows, written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.row_schema import LABELS


def index_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A LABELS table; what a row leaves out is told from its place."""
    usual = {"question": "what?", "answers": [], "auxiliary": [], "status": schema.STATUS_OK}
    full = [{"source_key": at, "image_key": at, **usual, **row} for at, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=LABELS)


def labelled(*answers: Sequence[str], **more: Any) -> LabelledRows:
    """One row for each list of annotator answers."""
    return LabelledRows.from_tables([index_table({"answers": list(given)} for given in answers)], **more)


def weighted(*labels: Mapping[str, float]) -> LabelledRows:
    """One row for each {answer: weight}."""
    rows = [{"answers": list(label), "weights": list(label.values())} for label in labels]
    return LabelledRows.from_tables([index_table(rows)])


def equal(a: LabelledRows, b: LabelledRows) -> bool:
    arrays = np.array_equal(a.keys, b.keys) and np.array_equal(a.image_keys, b.image_keys)
    columns = all(getattr(a, name).equals(getattr(b, name)) for name in ("questions", "answers", "answer_types"))
    both = a.weights is not None and b.weights is not None and a.weights.equals(b.weights)
    weights = (a.weights is b.weights is None) or both
    return arrays and columns and weights and dict(a.auxiliary) == dict(b.auxiliary)

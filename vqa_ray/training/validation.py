"""The rows of a validation, whatever is learnt: in parts of a good size, and each of them there once in the end."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RunError
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow, set_aside

_ROWS_AT_ONCE = 256
UNANSWERED = "no_right_answer"
"""Stands beside the error codes for rows that cannot be judged, because nothing is known to be right."""


@dataclass(frozen=True, slots=True)
class ValidationMetrics:
    """What the answers of a validation are worth.

    Attributes:
        loss: binary cross-entropy summed over labels, mean over the judged rows.
        accuracy: official VQA accuracy in 0..1, mean over the judged rows; where labels came with weights, the weight
            of the answer given.
        by_type, rows_by_type: answer type → accuracy, and rows it is a mean of.
        rows: judged. Rows of which no right answer is in the vocabulary are among them.
        skipped: error code (or `UNANSWERED`) → rows that could not be judged.
    """

    loss: float
    accuracy: float
    by_type: dict[str, float]
    rows_by_type: dict[str, int]
    rows: int
    skipped: dict[str, int]


def usable_rows(tables: Iterable[pa.Table]) -> Generator[tuple[pa.Table, list[SkippedRow]], None, None]:
    """Yield the rows that are no error, of about so many rows as are judged at once, and what became of the others.

    Args:
        tables: DECODED rows, cut anywhere.
    """
    for table in _larger(tables):
        yield set_aside(table)


def failed_rows(skipped: Sequence[SkippedRow], results: pa.Schema) -> pa.Table:
    """Rows of a schema of results that say only what went wrong."""
    rows = [{"source_key": row.source_key, **schema.error_cells(row)} for row in skipped]
    return pa.Table.from_pylist(rows, results)


def by_key(results: pa.Table, rows: LabelledRows) -> pa.Table:
    """Return the results in the order of `rows`.

    Raises:
        RunError: a row is missing, came twice or is none of `rows`.
    """
    keys = results["source_key"].to_numpy()
    order = np.argsort(keys)
    if not np.array_equal(keys[order], rows.keys):
        found, times = np.unique(keys, return_counts=True)
        wrong = {
            "missing": np.setdiff1d(rows.keys, found),
            "there more than once": found[times > 1],
            "of no validation row": np.setdiff1d(found, rows.keys),
        }
        listed = "; ".join(f"{len(which)} {how} (first {which[0]})" for how, which in wrong.items() if len(which))
        raise RunError(f"validation of {len(rows)} rows: of the source_keys answered {listed}")
    return results.take(order)


def _larger(tables: Iterable[pa.Table]) -> Generator[pa.Table, None, None]:
    """Yield the same rows in tables of at least so many rows as are answered at once."""
    waiting: list[pa.Table] = []
    for table in tables:
        if table.num_rows:
            waiting.append(table)
        if sum(part.num_rows for part in waiting) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)

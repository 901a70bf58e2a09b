"""The score by which rows of a run are sorted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.report.row_cards import tag_attributes

Scores = npt.NDArray[np.float32]

_COLUMN = {"answer": "answer_score", "caption": "caption_score", "retrieve": "score", "instruct": "agreement"}


def scores_of(job: str, rows: pa.Table) -> Scores | None:
    """float32 (N,): the score of each row, NaN for none; the highest of several answers or tags.

    Returns:
        None for a job without scores.
    """
    name = _COLUMN.get(job, "")
    if name in rows.column_names:
        columns = [rows[name].combine_chunks()]
    elif job == "answer" and "results" in rows.column_names:
        columns = [rows["results"].combine_chunks()]
    elif job in ("tag", "fill"):
        columns = [rows[f"{attribute}_score"].combine_chunks() for attribute in tag_attributes(rows.schema)]
    else:
        return None
    found: Scores = np.full(rows.num_rows, -np.inf, np.float32)
    for column in columns:
        _raise_to(found, column)
    found[np.isinf(found)] = np.nan
    return found


def by_score(order: npt.NDArray[np.int64], scores: Scores, *, lowest_first: bool) -> npt.NDArray[np.int64]:
    """Sort `order` by score, rows without a score last; equal scores keep their order."""
    mine = scores[order]
    value = mine if lowest_first else -mine
    return order[np.argsort(np.where(np.isnan(value), np.inf, value), kind="stable")]


def _raise_to(found: Scores, column: pa.Array) -> None:
    """Raise each row's score to the highest of a column: numbers, lists of them, or lists of results."""
    numbers = np.arange(len(column))
    if pa.types.is_list(column.type):
        numbers, column = np.asarray(column.value_parent_indices()), column.flatten()
    if pa.types.is_struct(column.type):
        column = column.field("answer_score")
    values = column.cast(pa.float32()).to_numpy(zero_copy_only=False)
    known = ~np.isnan(values)
    np.maximum.at(found, numbers[known], values[known])

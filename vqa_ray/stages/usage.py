"""The columns of what an endpoint took for a row, and the rows that its budget has no room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import ErrorCode
from vqa_ray.stages.questions import OUTCOME, PACKED
from vqa_ray.types import Usage, total_usage

# What an endpoint took for a row; only in the outputs of models behind one.
USAGE = (
    pa.field("prompt_tokens", pa.int32()),
    pa.field("completion_tokens", pa.int32()),
    pa.field("cost", pa.float64()),
)
_UNBUDGETED = str(ErrorCode.BUDGET_SPENT)


def with_usage(form: pa.Schema) -> pa.Schema:
    """Return an output form with `USAGE` in front of the status."""
    place = form.get_field_index("status")
    return pa.schema([*list(form)[:place], *USAGE, *list(form)[place:]])


def usage_cells(usage: Usage | None) -> dict[str, Any]:
    """Return the cells of `USAGE`, by column; null where the usage is unknown."""
    if usage is None:
        return {"prompt_tokens": None, "completion_tokens": None, "cost": None}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cost": usage.cost,
    }


def usage_columns(by_row: Mapping[int, Iterable[Usage | None]]) -> dict[str, dict[int, Any]]:
    """Return the columns of `USAGE`: name → row → the sum over the answers of the row."""
    columns: dict[str, dict[int, Any]] = {name: {} for name in usage_cells(None)}
    for row, usages in by_row.items():
        for name, value in usage_cells(total_usage(usages)).items():
            columns[name][row] = value
    return columns


def without_unbudgeted(table: pa.Table) -> pa.Table:
    """Return the rows of a model stage without those that the budget had no room for: another run asks them."""
    left_out = _unbudgeted(table)
    return table.filter(pa.array(~left_out)) if left_out.any() else table


def _unbudgeted(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Tell which rows the budget had no room for: bool (N,)."""
    if OUTCOME in table.column_names:
        return _unbudgeted(pa.Table.from_struct_array(table[OUTCOME].combine_chunks()))
    if PACKED not in table.column_names:
        return np.asarray(pc.fill_null(pc.equal(table["error_code"], _UNBUDGETED), False), bool)
    packed = table[PACKED].combine_chunks()
    of_question = pc.fill_null(pc.equal(pc.struct_field(pc.list_flatten(packed), "error_code"), _UNBUDGETED), False)
    return np.isin(np.arange(table.num_rows), np.asarray(pc.list_parent_indices(packed).filter(of_question)))

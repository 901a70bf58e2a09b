"""Replace failed rows by those of a later attempt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.runs.counts import keys_of_parts, row_keys
from vqa_ray.runs.part_files import read_columns
from vqa_ray.storage.atomic import write_table_atomic


def apply_retry(parts: Sequence[str], attempt_parts: Sequence[str], attempt: int) -> int:
    """Rewrite each part file that holds rows answered again; the other rows keep their places.

    Every file is replaced at once, so readers find one row per id at any moment, and doing it again after a death in
    the middle changes nothing.

    Args:
        parts: URIs of the part files of the run.
        attempt_parts: URIs of those of the attempt.
        attempt: its number.

    Returns:
        How many files were rewritten.
    """
    keys_of = {uri: _source_keys(uri) for uri in attempt_parts}
    rewritten = 0
    for uri in parts:
        keys = _source_keys(uri)
        sources = [other for other, has in keys_of.items() if np.isin(keys, has).any()]
        if not sources:
            continue
        again = pa.concat_tables([read_columns(other) for other in sources])
        table = replaced(read_columns(uri), again, attempt)
        if table is not None:
            write_table_atomic(uri, table)
            rewritten += 1
    return rewritten


def replaced(table: pa.Table, again: pa.Table, attempt: int) -> pa.Table | None:
    """`table` with the rows of `again` in the places of the same questions; None when they are there already.

    Args:
        table: rows of earlier attempts.
        again: rows of this one, with the same columns; rows that `table` lacks are left out.
        attempt: the number of this one.
    """
    pairs = np.concatenate([row_keys(table), row_keys(again)])
    # A number for each pair of source_key and question.
    numbers = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    keys, new_keys = numbers[: table.num_rows], numbers[table.num_rows :]
    order = np.argsort(new_keys)
    places = np.searchsorted(new_keys, keys, sorter=order)
    places[places == len(new_keys)] = 0
    candidates = order[places]
    stale = (new_keys[candidates] == keys) & (table["attempt"].to_numpy() < attempt)
    if not stale.any():
        return None
    rows = np.where(stale, table.num_rows + candidates, np.arange(table.num_rows))
    both = pa.concat_tables([table, again.select(table.column_names).cast(table.schema)])
    return both.take(pa.array(rows)).replace_schema_metadata(table.schema.metadata)


def _source_keys(uri: str) -> npt.NDArray[np.int64]:
    keys: npt.NDArray[np.int64] = np.unique(keys_of_parts([uri])[:, 0])
    return keys

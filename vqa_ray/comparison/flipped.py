"""The rows that differ between two inputs, as `rows/*.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from vqa_ray.comparison.pairing import SHOWN_KEY
from vqa_ray.comparison.record import FLIPPED, ROWS
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.uri import join


@dataclass(slots=True)
class FlippedRows:
    """The writer of the rows that differ.

    Attributes:
        output: directory of the comparison.
        by: further columns.
        rows: how many it has written.
    """

    output: str
    by: Sequence[str] = ()
    rows: int = 0
    _files: int = field(default=0, init=False)

    def write(self, pair: int, first: pa.Table, second: pa.Table) -> None:
        """Write rows of a pair: the same rows of both inputs, in the same order."""
        if not first.num_rows:
            return
        schema = pa.schema([*FLIPPED, *(pa.field(name, pa.string()) for name in self.by)])
        columns = [_column(field, pair, first, second) for field in schema]
        name = f"pair-{pair}-{self._files:05d}.parquet"
        write_table_atomic(join(self.output, ROWS, name), pa.Table.from_arrays(columns, schema=schema))
        self._files += 1
        self.rows += first.num_rows


def _column(field: pa.Field, pair: int, first: pa.Table, second: pa.Table) -> pa.Array | pa.ChunkedArray:
    side, _, name = field.name.partition("_")
    sides = {"first": first, "second": second}
    table = sides.get(side, first)
    name = SHOWN_KEY if field.name == "key" else name if side in sides else field.name
    if field.name == "pair":
        return pa.array([pair] * first.num_rows, field.type)
    if name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    return table[name].cast(field.type)

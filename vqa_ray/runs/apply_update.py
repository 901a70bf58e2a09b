"""The part files of a run after an update, made from those before and from the rows of the update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa

from vqa_ray.errors import ErrorCode
from vqa_ray.keys import Keys
from vqa_ray.runs.counts import keys_of_parts
from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import STATUS_GONE

_NO_KEYS: Keys = np.empty(0, np.int64)
# Part files of the update that are held in memory at a time.
_HELD = 8


@dataclass(frozen=True, slots=True)
class RowChanges:
    """What an update does to the rows of a run; all are int64 source_keys, each key in one role.

    Attributes:
        replaced: rows that are answered anew, each (key before, key now): (N, 2), by the first.
        moved: rows that stay and get another key, (key before, key now): (M, 2), by the first.
        gone: (G,), rows that the input does not have any more.
        forget: whether these are left out; otherwise they are marked.
        message: the reason in the rows that are marked.
    """

    replaced: Keys = field(default_factory=lambda: np.empty((0, 2), np.int64))
    moved: Keys = field(default_factory=lambda: np.empty((0, 2), np.int64))
    gone: Keys = field(default_factory=_NO_KEYS.copy)
    forget: bool = False
    message: str = ""

    @property
    def leaving(self) -> Keys:
        """Keys that no row has after the update."""
        both = np.concatenate([self.replaced, self.moved])
        changed = both[both[:, 0] != both[:, 1], 0]
        return np.unique(np.concatenate([changed, self.gone if self.forget else _NO_KEYS]))


class UpdatedParts:
    """Makes the part files of a run after an update, a file at a time.

    Args:
        changes: what happens to its rows.
        update_parts: URIs of the part files of the update.
        schema: of all part files afterwards; None leaves each its own.
    """

    def __init__(self, changes: RowChanges, update_parts: Sequence[str], schema: pa.Schema | None = None) -> None:
        self._changes, self._schema = changes, schema
        self._keys: Mapping[str, Keys] = {uri: np.unique(keys_of_parts([uri])[:, 0]) for uri in update_parts}
        self._read = lru_cache(_HELD)(read_columns)

    def of_part(self, uri: str) -> pa.Table | None:
        """Return the rows of a part file of the run after the update; None where it stays as it is."""
        changes = self._changes
        before = read_columns(uri, ("source_key",))["source_key"].to_numpy()
        touched = np.concatenate([changes.replaced[:, 0], changes.moved[:, 0], changes.gone])
        if self._schema is None and not np.isin(before, touched).any():
            return None
        table = read_columns(uri)
        form = self._schema or table.schema
        pairs = changes.replaced[np.isin(changes.replaced[:, 0], before)]
        out = np.isin(before, np.concatenate([pairs[:, 0], changes.gone if changes.forget else _NO_KEYS]))
        rest = conform(table.filter(pa.array(~out)), form)
        if not changes.forget:
            rest = _marked(rest, changes.gone, changes.message)
        rest = _renumbered(rest, changes.moved)
        return pa.concat_tables([rest, *self._rows(pairs[:, 1], form)]).replace_schema_metadata(form.metadata)

    def of_update(self, uri: str) -> pa.Table:
        """Return the rows of a part file of the update that take no other row's place."""
        table = self._read(uri)
        return table.filter(pa.array(~np.isin(table["source_key"].to_numpy(), self._changes.replaced[:, 1])))

    def _rows(self, keys: Keys, form: pa.Schema) -> Iterator[pa.Table]:
        for uri, has in self._keys.items():
            if np.isin(has, keys).any():
                table = self._read(uri)
                found = table.filter(pa.array(np.isin(table["source_key"].to_numpy(), keys)))
                yield conform(found, form)


def conform(table: pa.Table, form: pa.Schema) -> pa.Table:
    """Give a table the columns of a schema: those that it lacks are null, others go."""
    if table.schema.equals(form):
        return table.replace_schema_metadata(None)
    arrays = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in form
    ]
    return pa.table(arrays, schema=form.remove_metadata())


def _marked(table: pa.Table, gone: Keys, message: str) -> pa.Table:
    is_gone = np.isin(table["source_key"].to_numpy(), gone)
    if not is_gone.any():
        return table
    cells = {"status": STATUS_GONE, "error_code": str(ErrorCode.GONE), "error_message": message}
    for name, value in cells.items():
        column = table.schema.get_field_index(name)
        kind = table.schema.field(column)
        values = pa.array(np.where(is_gone, value, table[name].to_numpy(zero_copy_only=False)), kind.type)
        table = table.set_column(column, kind, values)
    return table


def _renumbered(table: pa.Table, moved: Keys) -> pa.Table:
    keys = table["source_key"].to_numpy()
    if not len(moved) or not np.isin(keys, moved[:, 0]).any():
        return table
    nearest = np.minimum(np.searchsorted(moved[:, 0], keys), len(moved) - 1)
    now = np.where(moved[nearest, 0] == keys, moved[nearest, 1], keys)
    column = table.schema.get_field_index("source_key")
    return table.set_column(column, table.schema.field(column), pa.array(now, pa.int64()))

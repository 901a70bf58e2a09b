"""Batches as engines hand them over (Arrow, pandas, NumPy or lists) with columns of ours behind their own."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.errors import RequestError
from vqa_ray.readers.arrow_rows import values_of

if TYPE_CHECKING:
    import pandas

Places = npt.NDArray[np.int64]


class Batch(ABC):
    """A batch of rows."""

    names: list[str]
    """The names of its columns."""

    rows: int
    """The number of its rows."""

    @abstractmethod
    def values(self, name: str) -> Sequence[object]:
        """Return the Python values of a column; None for null."""

    @abstractmethod
    def with_columns(self, added: pa.Table, places: Places | None) -> Any:
        """Return the batch in its own form, with more columns.

        Args:
            added: the columns.
            places: the row of the batch that each of their rows belongs to; None where they are the same.
        """


def as_batch(given: object) -> Batch:
    """Take a batch in any of the forms.

    Raises:
        RequestError: it is none of them.
    """
    if isinstance(given, pa.Table | pa.RecordBatch):
        return _ArrowBatch(given)
    if isinstance(given, Mapping):
        return _ColumnsBatch(given)
    if type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "iloc"):
        return _PandasBatch(given)
    raise RequestError(
        f"a batch of type {type(given).__name__}; wanted is a pyarrow Table or RecordBatch, a pandas DataFrame, or a "
        "mapping of column names to arrays or lists (Ray Data: batch_format='pyarrow'; datasets: batched=True)"
    )


class _ArrowBatch(Batch):
    def __init__(self, given: pa.Table | pa.RecordBatch) -> None:
        self._is_record_batch = isinstance(given, pa.RecordBatch)
        self._table = pa.Table.from_batches([given]) if self._is_record_batch else given
        self.names, self.rows = self._table.column_names, self._table.num_rows

    def values(self, name: str) -> Sequence[object]:
        return _column_values(self._table[name])

    def with_columns(self, added: pa.Table, places: Places | None) -> pa.Table | pa.RecordBatch:
        table = self._table if places is None else self._table.take(pa.array(places))
        for field, column in zip(added.schema, added.columns, strict=True):
            table = table.append_column(field, column)
        if not self._is_record_batch:
            return table
        columns = [column.combine_chunks() for column in table.columns]
        return pa.RecordBatch.from_arrays(columns, schema=table.schema)


class _ColumnsBatch(Batch):
    """A mapping of arrays or lists.

    A lazy batch of `datasets` is read as it is stored: a column that it has decoded, it would also write anew, which
    costs time and, with JPEG, quality.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._columns = given
        self.names = list(given)
        self.rows = _length(given)
        decoded = [name for name in given if name not in _lazy_names(given)]
        self._has_lists = bool(given) and not any(isinstance(given[name], np.ndarray) for name in decoded)

    def values(self, name: str) -> Sequence[object]:
        if name in _lazy_names(self._columns):
            return _column_values(self._columns.pa_table[name])  # type: ignore[attr-defined]
        return [_python(value) for value in self._columns[name]]

    def with_columns(self, added: pa.Table, places: Places | None) -> Any:
        if places is None:
            # A lazy batch of `datasets` copies itself without decoding.
            result: Any = copy.copy(self._columns)
        else:
            result = {name: _repeated(self._columns[name], places) for name in self._columns}
        for name in added.column_names:
            result[name] = added[name].to_pylist() if self._has_lists else numpy_column(added[name])
        return result


class _PandasBatch(Batch):
    def __init__(self, given: pandas.DataFrame) -> None:
        self._frame = given
        self.names, self.rows = list(given.columns), len(given)

    def values(self, name: str) -> Sequence[object]:
        return [_python(value) for value in self._frame[name].array]

    def with_columns(self, added: pa.Table, places: Places | None) -> pandas.DataFrame:
        import pandas

        frame = self._frame.copy(deep=False) if places is None else self._frame.iloc[places]
        columns = {
            field.name: pandas.Series(added[field.name].to_pylist(), frame.index, object)
            if pa.types.is_nested(field.type)
            else added[field.name].to_pandas().set_axis(frame.index)
            for field in added.schema
        }
        return pandas.concat([frame, pandas.DataFrame(columns, frame.index)], axis=1)


def numpy_column(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a column as an array: lists of a fixed length as rows of a matrix (NaN for null), others as objects."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        matrix = np.full((len(column), kind.list_size), np.nan, np.float32)
        for row, value in enumerate(column):
            if value.is_valid:
                matrix[row] = value.values.to_numpy()
        return matrix
    if pa.types.is_nested(kind):
        objects = np.empty(len(column), object)
        objects[:] = column.to_pylist()
        return objects
    array: npt.NDArray[Any] = column.to_numpy()
    return array


def _length(columns: Mapping[str, Any]) -> int:
    table = getattr(columns, "pa_table", None)
    return int(table.num_rows) if table is not None else len(next(iter(columns.values()), ()))


def _lazy_names(columns: Mapping[str, Any]) -> Collection[str]:
    """Name the columns that a lazy batch of `datasets` has not decoded yet."""
    return getattr(columns, "keys_to_format", ())


def _repeated(values: Any, places: Places) -> Any:
    return values[places] if isinstance(values, np.ndarray) else [values[row] for row in places.tolist()]


def _column_values(column: pa.ChunkedArray) -> Sequence[object]:
    return [value for chunk in column.chunks for value in _arrow_values(chunk)]


def _arrow_values(chunk: pa.Array) -> Sequence[object]:
    if isinstance(chunk, pa.FixedShapeTensorArray):
        return list(chunk.to_numpy_ndarray())
    if isinstance(chunk, pa.ExtensionArray) and chunk.type.extension_name.startswith("ray.data."):
        return list(chunk.to_pylist())
    return values_of(chunk)


def _python(value: object) -> object:
    """Return a cell as a Python value: NumPy scalars unpacked; NaN, NaT and the NA of pandas as None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value.tolist()
    is_missing = isinstance(value, float) and math.isnan(value)
    return None if is_missing or type(value).__name__ in ("NAType", "NaTType") else value

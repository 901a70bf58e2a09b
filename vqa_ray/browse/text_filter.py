"""Text of untrusted tables: make it valid UTF-8, and filter rows by words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


def with_valid_text(table: pa.Table) -> pa.Table:
    """Replace invalid UTF-8 in the strings of a table by U+FFFD, at any depth; valid columns are not copied.

    Parquet readers do not check UTF-8, and the first use of an invalid string would raise.
    """
    for index, field in enumerate(table.schema):
        column = table.column(index)
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raw = pa.chunked_array([_as_bytes(chunk) for chunk in column.chunks], _bytes_type(field.type))
            values = [_decoded(value, field.type) for value in raw.to_pylist()]
            table = table.set_column(index, field, pa.array(values, field.type))
    return table


def rows_with_words(table: pa.Table, text: str) -> Mask:
    """Find the rows whose strings hold every word of `text`, ignoring case.

    Args:
        table: N rows.
        text: words separated by white space; every row matches an empty text.

    Returns:
        bool (N,).
    """
    found: Mask = np.ones(table.num_rows, np.bool_)
    for word in text.split():
        holds = np.zeros(table.num_rows, np.bool_)
        for column in table.columns:
            holds |= _holds(column, word)
        found &= holds
    return found


def _holds(column: pa.ChunkedArray | pa.Array, word: str) -> Mask:
    """Find the rows of a column that hold a word: in the value, an item of a list or a field of a struct."""
    data_type = column.type
    mask: Mask = np.zeros(len(column), np.bool_)
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
        hits = pc.fill_null(pc.match_substring(column, word, ignore_case=True), False)
        return np.asarray(hits.to_numpy() if isinstance(hits, pa.ChunkedArray) else hits.to_numpy(zero_copy_only=False))
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        rows = np.asarray(pc.list_parent_indices(column))
        mask[rows[_holds(pc.list_flatten(column), word)]] = True
    elif pa.types.is_struct(data_type):
        for index in range(data_type.num_fields):
            mask |= _holds(pc.struct_field(column, [index]), word)
    return mask


def _bytes_type(data_type: pa.DataType) -> pa.DataType:
    """Return the type with strings replaced by bytes."""
    if pa.types.is_string(data_type):
        return pa.binary()
    if pa.types.is_large_string(data_type):
        return pa.large_binary()
    if pa.types.is_list(data_type):
        return pa.list_(data_type.value_field.with_type(_bytes_type(data_type.value_type)))
    if pa.types.is_struct(data_type):
        return pa.struct([field.with_type(_bytes_type(field.type)) for field in data_type])
    return data_type


def _as_bytes(chunk: pa.Array) -> pa.Array:
    """View the same memory as bytes; a cast would validate the strings."""
    data_type = chunk.type
    if pa.types.is_list(data_type):
        values = _as_bytes(chunk.values)
        return pa.Array.from_buffers(
            _bytes_type(data_type), len(chunk), chunk.buffers()[:2], chunk.null_count, chunk.offset, [values]
        )
    if pa.types.is_struct(data_type):
        fields = [_as_bytes(pc.struct_field(chunk, [index])) for index in range(data_type.num_fields)]
        mask = pc.is_null(chunk)
        return pa.StructArray.from_arrays(fields, fields=list(_bytes_type(data_type)), mask=mask)
    return chunk.view(_bytes_type(data_type)) if _bytes_type(data_type) != data_type else chunk


def _decoded(value: Any, data_type: pa.DataType) -> Any:
    if isinstance(value, bytes) and (pa.types.is_string(data_type) or pa.types.is_large_string(data_type)):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_decoded(each, data_type.value_type) for each in value]
    if isinstance(value, dict):
        return {field.name: _decoded(value[field.name], field.type) for field in data_type}
    return value

"""Arrow types that every table format has, in place of those that some lack."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray.errors import RequestError

# Unsigned integers → the signed ones that hold them; the widest stays as wide.
_SIGNED = {
    pa.uint8(): pa.int32(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.int8(): pa.int32(),
    pa.int16(): pa.int32(),
}


def plain_schema(schema: pa.Schema, label: str) -> pa.Schema:
    """Return a schema of the same names, every column nullable, with types that all table formats have.

    Args:
        schema: of rows or of a table.
        label: whose schema it is, for messages.

    Raises:
        RequestError: a column has a type that no table format has.
    """
    return pa.schema([pa.field(field.name, _plain(field.type, field.name, label)) for field in schema])


def as_plain(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Convert an array to a type of `plain_schema`.

    Raises:
        pa.ArrowInvalid: a value does not fit, for example one of 2⁶³ or more.
    """
    return array if array.type == wanted else array.cast(wanted)


def _plain(kind: pa.DataType, column: str, label: str) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(kind):
        return _plain(kind.value_type, column, label)
    if types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_float16(kind):
        return pa.float32()
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz and "UTC")
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", _plain(kind.value_type, column, label)))
    if types.is_struct(kind):
        return pa.struct([pa.field(each.name, _plain(each.type, column, label)) for each in kind])
    known = types.is_string(kind) or types.is_binary(kind) or types.is_boolean(kind) or types.is_date32(kind)
    if known or types.is_float32(kind) or types.is_float64(kind) or types.is_decimal128(kind):
        return kind
    if kind in (pa.int32(), pa.int64()):
        return kind
    if kind in _SIGNED:
        return _SIGNED[kind]
    raise RequestError(f"{label}: column {column} is of type {kind}, which the table formats lack")

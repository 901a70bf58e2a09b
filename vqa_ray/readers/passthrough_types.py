"""Arrow types that a kept column can be written as: its own, a plain one that holds the same values, or none."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import types

from vqa_ray.readers.source import request_error


def storable(given: pa.DataType) -> pa.DataType:
    """Return the type as which values of `given` pass through Ray and stand in Parquet.

    Dictionaries, run-end encoding, views and extensions become what they encode, times of seconds become milliseconds
    as Parquet holds them, and a type of nulls alone becomes text.

    Raises:
        ValueError: Parquet has nothing for them; the text says what.
    """
    if isinstance(given, pa.BaseExtensionType):
        return storable(given.storage_type)
    if types.is_dictionary(given) or types.is_run_end_encoded(given):
        return storable(given.value_type)
    if types.is_union(given) or types.is_interval(given):
        raise ValueError(str(given).partition("<")[0])
    if types.is_map(given):
        return pa.map_(storable(given.key_type), _plain(given.item_field))
    if types.is_struct(given):
        if given.num_fields == 0:
            raise ValueError("a struct without fields")
        return pa.struct([_plain(part) for part in given])
    if types.is_fixed_size_list(given):
        return pa.list_(_plain(given.value_field), given.list_size)
    if types.is_large_list(given) or types.is_large_list_view(given):
        return pa.large_list(_plain(given.value_field))
    if types.is_list(given) or types.is_list_view(given):
        return pa.list_(_plain(given.value_field))
    if types.is_timestamp(given) and given.unit == "s":
        return pa.timestamp("ms", given.tz)
    return _SCALARS.get(given, given)


def common(name: str, given: Sequence[pa.DataType]) -> pa.DataType:
    """Return the storable type of a column that several files bring.

    Args:
        name: of the column, for the message.
        given: its type in each file; where they do not go together the first that is not null decides.

    Raises:
        RequestError: values of such a type cannot be written.
    """
    typed = [one for one in dict.fromkeys(given) if not types.is_null(one)]
    if not typed:
        return pa.string()
    try:
        merged: pa.DataType = pa.unify_schemas([pa.schema([(name, one)]) for one in typed]).field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        merged = typed[0]
    try:
        return storable(merged)
    except ValueError as error:
        raise request_error(
            f"column {name!r} is {merged}, and Parquet cannot hold {error}; leave it out, or write it as text or as "
            "columns of plain types"
        ) from error


def notes_on(names: Sequence[str], schemas: Sequence[pa.Schema], fields: Sequence[pa.Field]) -> tuple[str, ...]:
    """Return notes on kept columns whose type is another in the output: one line each.

    Args:
        names: the kept columns.
        schemas: of the files.
        fields: what `common` made of the columns, in the order of `names`.
    """
    notes = []
    for name, field in zip(names, fields, strict=False):
        given = next((one.field(one.get_field_index(name)).type for one in schemas if name in one.names), field.type)
        if _loses_meaning(given):
            notes.append(f"--keep {name}: the column is {given} in the input and {field.type} in the output")
    return tuple(notes)


def _loses_meaning(given: pa.DataType) -> bool:
    """Check whether the output lacks something: the meaning of an extension, or fields that were all null."""
    if isinstance(given, pa.BaseExtensionType):
        return True
    return any(types.is_null(part.type) or _loses_meaning(part.type) for part in _parts(given))


def _parts(given: pa.DataType) -> list[pa.Field]:
    return [given.field(i) for i in range(given.num_fields)] if types.is_nested(given) else []


def _plain(part: pa.Field) -> pa.Field:
    return part.with_type(storable(part.type))


_SCALARS = {
    pa.null(): pa.string(),
    pa.string_view(): pa.string(),
    pa.binary_view(): pa.binary(),
    pa.time32("s"): pa.time32("ms"),
    pa.date64(): pa.date32(),
}

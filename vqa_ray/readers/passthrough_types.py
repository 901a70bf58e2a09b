"""Arrow types that a kept column can be written as: its own, a plain one that holds the same values, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
from pyarrow import types

from vqa_ray.readers.columns import is_text
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
        given: its type in each file; the narrowest type that holds them all, where there is one (int64 for int32 and
            int64), else the first that is not null.

    Raises:
        RequestError: values of such a type cannot be written.
    """
    typed = [one for one in dict.fromkeys(given) if not types.is_null(one)]
    if not typed:
        return pa.string()
    try:
        schemas = [pa.schema([(name, one)]) for one in typed]
        merged: pa.DataType = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        # Text beside bytes would become bytes.
        merged = typed[0] if is_text(typed[0]) and not is_text(merged) else merged
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        merged = typed[0]
    try:
        return storable(merged)
    except ValueError as error:
        raise request_error(
            f"column {name!r} is {merged}, and Parquet cannot hold {error}; leave it out, or write it as text or as "
            "columns of plain types"
        ) from error


def can_become(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Check whether a cast keeps what values mean, or fails: to a boolean or a date, Arrow casts others in silence.

    Nor does it say that times without a zone become times of one, and the other way round.

    Args:
        given: the type of a file.
        wanted: a type of `common`.
    """
    if isinstance(given, pa.BaseExtensionType):
        return can_become(given.storage_type, wanted)
    if types.is_dictionary(given) or types.is_run_end_encoded(given):
        return can_become(given.value_type, wanted)
    if types.is_struct(given) and types.is_struct(wanted):
        by_name = {part.name: part.type for part in _parts(wanted)}
        return all(can_become(part.type, by_name.get(part.name, part.type)) for part in _parts(given))
    if types.is_nested(given) and types.is_nested(wanted) and given.num_fields == wanted.num_fields:
        pairs = zip(_parts(given), _parts(wanted), strict=True)
        return all(can_become(one.type, other.type) for one, other in pairs)
    kind = _kind(given)
    return given == wanted or "text" in (kind, _kind(wanted)) or kind in ("", _kind(wanted))


def _kind(given: pa.DataType) -> str:
    return next((name for name, test in _KINDS.items() if test(given)), "")


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


_KINDS: Mapping[str, Callable[[pa.DataType], bool]] = {
    "text": is_text,
    "boolean": types.is_boolean,
    "number": lambda given: types.is_integer(given) or types.is_floating(given) or types.is_decimal(given),
    "date": types.is_date,
    "time": types.is_time,
    "timestamp": lambda given: types.is_timestamp(given) and given.tz is None,
    "zoned timestamp": lambda given: types.is_timestamp(given) and given.tz is not None,
    "duration": types.is_duration,
}
_SCALARS = {
    pa.null(): pa.string(),
    pa.string_view(): pa.string(),
    pa.binary_view(): pa.binary(),
    pa.time32("s"): pa.time32("ms"),
    pa.date64(): pa.date32(),
}

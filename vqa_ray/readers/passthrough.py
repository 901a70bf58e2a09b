"""Columns that ride along: their types, and their values cast to them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import pyarrow as pa
from pyarrow import compute, types

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.class_labels import named_values, with_class_names
from vqa_ray.readers.coerce import INT64, checked, finite_or_text, mismatch
from vqa_ray.readers.passthrough_types import can_become, common
from vqa_ray.readers.source import LABEL

# The kept values of one row: Python values or Arrow scalars of the field's type, an error for one that does not fit.
Kept: TypeAlias = Sequence[object]

# A leading zero makes a code of a number: 00123 stays text.
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,18})")
_NUMBER = re.compile(r"-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_DIGITS = re.compile(r"-?\d+")
# The integers that float64 holds, each as itself.
_EXACT = range(-(2**53), 2**53 + 1)


def infer_json(
    names: Sequence[str], rows: Iterable[Mapping[str, object]], labels: Sequence[str] = ()
) -> tuple[pa.Field, ...]:
    """Return fields for columns of JSON objects: int64, float64, bool or string, which takes other JSON as text.

    Labels follow: string, list<string> or `LABEL`.
    """
    sample = list(rows)
    kept = [pa.field(name, _json_type([row.get(name) for row in sample])) for name in names]
    return (*kept, *(pa.field(name, _label_type([row.get(name) for row in sample])) for name in labels))


def infer_text(
    names: Sequence[str], rows: Iterable[Mapping[str, object]], labels: Sequence[str] = ()
) -> tuple[pa.Field, ...]:
    """Return fields for columns of text: int64, float64 or string; empty cells do not count.

    Labels follow: string, or list<string> or `LABEL` where every cell is JSON for it.
    """
    sample = list(rows)
    kept = [pa.field(name, _text_type([row.get(name) for row in sample])) for name in names]
    return (*kept, *(pa.field(name, _label_type([parsed(row.get(name)) for row in sample])) for name in labels))


def parsed(cell: object) -> object:
    """Return the JSON list or object in a cell of text; else the cell as it is, None when empty."""
    if not isinstance(cell, str) or not cell:
        return None
    if cell.lstrip()[:1] not in ("[", "{"):
        return cell
    try:
        return json.loads(cell, parse_float=finite_or_text)
    except (ValueError, RecursionError):
        return cell


def infer_arrow(names: Sequence[str], schemas: Iterable[pa.Schema], labels: Sequence[str] = ()) -> tuple[pa.Field, ...]:
    """Fields for columns of Arrow tables, of types that can be written.

    Args:
        names: of the columns.
        schemas: of the tables.
        labels: which columns are labels; their classes are text where the tables name them.

    Raises:
        RequestError: a column is of a type that cannot be, or tables name the classes of a label differently.
    """
    given = list(schemas)
    fields = []
    for name in names:
        found = [arrow.field(arrow.get_all_field_indices(name)[0]).type for arrow in given]
        fields.append(pa.field(name, common(name, found)))
    return tuple(with_class_names(fields, labels, given))


def keep_json(values: Mapping[str, object], fields: Sequence[pa.Field]) -> Kept:
    """Return the kept values of a JSON object."""
    return [_tried(_cast_json, values.get(part.name), part) for part in fields]


def keep_text(values: Mapping[str, object], fields: Sequence[pa.Field]) -> Kept:
    """Return the kept values of a line of text cells; an empty cell is null."""
    return [_tried(_cast_text, values.get(part.name), part) for part in fields]


def keep_arrow(batch: pa.RecordBatch, fields: Sequence[pa.Field]) -> list[Kept]:
    """Give the kept values of each row of a batch, as Arrow scalars, so that no type loses anything on the way.

    A column that the file lacks is null.
    """
    columns: list[list[object]] = []
    for part in fields:
        found = batch.schema.get_all_field_indices(part.name)
        columns.append(_cast_array(batch.column(found[0]), part) if found else [None] * batch.num_rows)
    return [[column[i] for column in columns] for i in range(batch.num_rows)]


def _tried(cast: object, value: object, part: pa.Field) -> object:
    try:
        return cast(value, part)  # type: ignore[operator]
    except RowError as error:
        return error


def _json_type(values: Sequence[object]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    in_range = all(value in INT64 for value in values if type(value) is int)
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and in_range:
        return pa.int64()
    if kinds in ({float}, {int, float}) and all(_is_float64(value) for value in values if value is not None):
        return pa.float64()
    return pa.string()


def _cast_json(value: object, part: pa.Field) -> object:
    if value is None:
        return None
    if types.is_string(part.type):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        return checked(text, part.name)
    if types.is_int64(part.type):
        fits = type(value) is int and value in INT64
    elif types.is_float64(part.type):
        fits = _is_float64(value)
    elif types.is_boolean(part.type):
        fits = type(value) is bool
    elif part.type == LABEL:
        fits = isinstance(value, Mapping) and _is_list(value.get("ids"), str) and _is_list(value.get("weights"), float)
    else:
        value = _answers(value)
        fits = _is_list(value, str)
    if not fits:
        raise mismatch(part.name, value, str(part.type))
    for text in value if isinstance(value, list) else ():
        checked(text, part.name)
    return value


def _answers(value: object) -> object:
    """Return a list of texts where there is one text, or a list of objects with an `answer`, as VQA v2 has them."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return value
    return [each.get("answer") if isinstance(each, Mapping) else each for each in value]


def _is_list(value: object, kind: type) -> bool:
    if not isinstance(value, list):
        return False
    return all(_is_float64(one) if kind is float else type(one) is kind for one in value)


def _is_float64(value: object) -> bool:
    """Check whether a value is a number that float64 holds: of integers beyond 2⁵³ it holds but a part."""
    return type(value) is float or (type(value) is int and value in _EXACT)


def _is_number(text: str) -> bool:
    """Check whether a text is a number that float64 holds: no integer beyond 2⁵³, nothing that would be infinite."""
    if _DIGITS.fullmatch(text):
        return bool(_INTEGER.fullmatch(text)) and int(text) in _EXACT
    return bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))


def _label_type(values: Sequence[object]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    return pa.list_(pa.string()) if kinds == {list} else LABEL if kinds == {dict} else pa.string()


def _text_type(values: Sequence[object]) -> pa.DataType:
    texts = [value for value in values if isinstance(value, str) and value]
    if texts and all(_INTEGER.fullmatch(text) and int(text) in INT64 for text in texts):
        return pa.int64()
    if texts and all(_is_number(text) for text in texts):
        return pa.float64()
    return pa.string()


def _cast_text(value: object, part: pa.Field) -> object:
    if not isinstance(value, str) or not value:
        return None
    if types.is_string(part.type):
        return checked(value, part.name)
    if types.is_nested(part.type):
        return _cast_json(parsed(value), part)
    if types.is_int64(part.type) and _INTEGER.fullmatch(value) and int(value) in INT64:
        return int(value)
    if types.is_float64(part.type) and _is_number(value):
        return float(value)
    raise mismatch(part.name, value, str(part.type))


def _cast_array(column: pa.Array, part: pa.Field) -> list[object]:
    if types.is_null(column.type):
        return [None] * len(column)
    try:
        if types.is_run_end_encoded(column.type):
            column = compute.run_end_decode(column)
        column = named_values(column, part)
        if not can_become(column.type, part.type):
            raise pa.ArrowTypeError(f"{column.type} is no {part.type}")
        cast = column if column.type == part.type else compute.cast(column, part.type)
        cast.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        if len(column) > 1:
            return [value for i in range(len(column)) for value in _cast_array(column.slice(i, 1), part)]
        return [_misfit(column, part, error)]
    return [value if value.is_valid else None for value in cast]


def _misfit(column: pa.Array, part: pa.Field, error: Exception) -> RowError:
    try:
        return mismatch(part.name, column[0].as_py(), str(part.type))
    except (ValueError, UnicodeError):
        return RowError(ErrorCode.ROW_MALFORMED, f"column {part.name!r} holds no {part.type}: {error}")

"""Hugging Face's `ClassLabel`: integers whose names stand in the metadata of the table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import compute, types

from vqa_ray.readers.source import join_names, request_error

_DATASETS = b"huggingface"
_NAMES = b"class_names"
_UNKNOWN = -1


def with_class_names(fields: Sequence[pa.Field], labels: Sequence[str], schemas: Sequence[pa.Schema]) -> list[pa.Field]:
    """Fields of which the labels that are `ClassLabel`, or lists of it, are text and carry the names.

    Args:
        fields: the fields of columns.
        labels: which of them are labels, by name.
        schemas: of the tables they come from.

    Raises:
        RequestError: tables give the integers of a label different names.
    """
    return [_named(field, schemas) if field.name in labels else field for field in fields]


def _named(field: pa.Field, schemas: Sequence[pa.Schema]) -> pa.Field:
    is_list = types.is_list(field.type) or types.is_large_list(field.type)
    if not types.is_integer(field.type.value_type if is_list else field.type):
        return field
    found = {names for schema in schemas if (names := _names_in(schema, field.name))}
    if not found:
        return field
    if len(found) > 1:
        first, second = sorted(found)[:2]
        raise request_error(
            f"column {field.name!r}: files give its integers different names: {join_names(first)}; "
            f"{join_names(second)}; train on them apart, or write the names as text"
        )
    text = pa.list_(pa.string()) if is_list else pa.string()
    return pa.field(field.name, text, metadata={_NAMES: json.dumps(found.pop())})


def _names_in(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    try:
        content = json.loads((schema.metadata or {}).get(_DATASETS, b"{}"))
        feature = content["info"]["features"][column]
    except (ValueError, LookupError, TypeError):
        return None
    return _names_of(feature)


def _names_of(feature: Any) -> tuple[str, ...] | None:
    if isinstance(feature, list) and len(feature) == 1:
        return _names_of(feature[0])
    if not isinstance(feature, Mapping):
        return None
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return tuple(map(str, feature["names"]))
    return _names_of(feature.get("feature"))


def named_values(column: pa.Array, field: pa.Field) -> pa.Array:
    """Return the names of the integers of a column whose field carries names; -1, which means unknown, is null.

    Any other column is given as it is.

    Raises:
        pa.ArrowInvalid: an integer has no name.
    """
    names = (field.metadata or {}).get(_NAMES)
    if names is None:
        return column
    if types.is_list(column.type) or types.is_large_list(column.type):
        values = _named_integers(column.flatten(), json.loads(names))
        lengths = compute.fill_null(compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array([0, *lengths.cumsum().tolist()], pa.int32())
        return pa.ListArray.from_arrays(offsets, values, mask=column.is_null())
    return _named_integers(column, json.loads(names)) if types.is_integer(column.type) else column


def _named_integers(column: pa.Array, names: list[str]) -> pa.Array:
    known = compute.if_else(compute.equal(column, _UNKNOWN), pa.scalar(None, column.type), column)
    span = compute.min_max(known)
    if span["max"].is_valid and not (span["min"].as_py() >= 0 and span["max"].as_py() < len(names)):
        raise pa.ArrowInvalid(f"a class that has no name; there are {len(names)}")
    return pa.array(names, pa.string()).take(known)

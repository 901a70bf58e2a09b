"""From a JSON Schema to the fields of an object: a subset of the standard, everything else refused by name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.structured.field import Field, Kind, Scalar
from vqa_ray.structured.limits import LIMITS, WIDEST_INTEGER, broken_limits, check_limits
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.structured.references import COMBINED, NOTES, References, SchemaError, shown

# Objects in objects, and the most values of an enumeration.
MAX_DEPTH, MAX_CHOICES = 2, 10_000
_NAME, _NAME_LIMIT = re.compile(r"[^\W\d][\w-]*"), 64
_OWN_KEYWORDS = {"array": ("items",), "object": ("properties", "required", "additionalProperties")}
_NULL = {"type": "null"}


def parse_schema(document: object, where: str) -> ObjectSchema:
    """Check a JSON Schema and return it.

    Args:
        document: the schema as it was read.
        where: its file or class, for messages.

    Raises:
        RequestError: one line with the field, what was given and what is allowed.
    """
    if not isinstance(document, dict):
        raise RequestError(f"{where}: wanted the JSON Schema of an object, got {shown(document)}")
    try:
        resolved = References(document).resolved(document)
        kind = resolved.get("type")
        if kind != "object":
            raise SchemaError((), f"wanted the schema of an object, type: object, got type {shown(kind)}")
        _require_characters(resolved)
        whole = _field("", resolved, (), 0)
    except SchemaError as error:
        raise RequestError(f"{where}: {error}") from error
    schema = ObjectSchema(whole.fields, resolved, whole.description)
    schema.check_columns(where)
    return schema


def _require_characters(document: Mapping[str, Any]) -> None:
    """Refuse halves of surrogate pairs, which JSON can escape and no file, column or model can hold."""
    try:
        json.dumps(document, ensure_ascii=False, default=str, skipkeys=True).encode()
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 20) : error.end]
        raise SchemaError((), f"a text holds half of a surrogate pair: {shown(around)}") from error


def _field(name: str, part: Mapping[str, Any], path: Sequence[str], depth: int) -> Field:
    """Return the field of a part without references, `depth` objects below the whole."""
    part, nullable = _without_null(part, path)
    description = part.get("description", "")
    if not isinstance(description, str):
        raise SchemaError(path, f"description {shown(description)}: wanted text")
    if any(key in part for key in ("enum", "const", *COMBINED)):
        found = _enumeration(name, part, path)
    else:
        found = _typed(name, part, path, depth)
    return replace(found, nullable=nullable, description=" ".join(description.split()))


def _typed(name: str, part: Mapping[str, Any], path: Sequence[str], depth: int) -> Field:
    given = part.get("type")
    kind: Kind | None = next((each for each in LIMITS if each == given), None)
    if kind is None:
        raise SchemaError(path, f"type {shown(given)} is not supported; wanted {', '.join(LIMITS)}, or enum, or const")
    for key in part:
        if key not in ("type", *LIMITS[kind], *_OWN_KEYWORDS.get(kind, ()), *NOTES):
            raise SchemaError(path, f"keyword {key!r} does not go with type {kind!r}")
    limits = _limits(part, kind, path)
    if kind == "object":
        return Field(name, "object", fields=_properties(part, path, depth))
    if kind != "array":
        return Field(name, kind, limits=limits)
    if "items" not in part:
        raise SchemaError(path, "an array needs the schema of its items: items")
    item = _field("", part["items"], (*path[:-1], f"{name}[]"), depth)
    if item.kind == "array":
        raise SchemaError(path, "an array of arrays is not supported; wanted items of a plain type, or objects")
    return Field(name, "array", limits=limits, item=item)


def _properties(part: Mapping[str, Any], path: Sequence[str], depth: int) -> tuple[Field, ...]:
    if depth >= MAX_DEPTH:
        raise SchemaError(path, f"objects are nested deeper than {MAX_DEPTH} levels")
    properties, required = part.get("properties"), part.get("required", [])
    if not isinstance(properties, dict) or not properties:
        raise SchemaError(path, "an object needs at least one field: properties")
    if not isinstance(part.get("additionalProperties", False), bool):
        raise SchemaError(path, "additionalProperties: wanted false, as each field is a column")
    if not isinstance(required, list):
        raise SchemaError(path, f"required {shown(required)}: wanted a list of names of fields")
    for each in required:
        if not isinstance(each, str) or each not in properties:
            raise SchemaError(path, f"required {shown(each)} is not one of the fields")
    fields = []
    for name, each in properties.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
            allowed = f"letters, digits, _ and -, not a digit first, at most {_NAME_LIMIT}"
            raise SchemaError((*path, str(name)), f"its name is that of a column: {allowed}")
        fields.append(replace(_field(name, each, (*path, name), depth + 1), required=name in required))
    return tuple(fields)


def _limits(part: Mapping[str, Any], kind: Kind, path: Sequence[str]) -> dict[str, Any]:
    limits = {key: part[key] for key in LIMITS[kind] if key in part}
    try:
        check_limits(limits)
    except ValueError as error:
        raise SchemaError(path, str(error)) from error
    for key, limit in limits.items():
        if kind == "integer" and abs(limit) >= WIDEST_INTEGER:
            raise SchemaError(path, f"{key} {limit!r}: an integer is held in 64 bits; take type number for larger ones")
    return limits


def _without_null(part: Mapping[str, Any], path: Sequence[str]) -> tuple[Mapping[str, Any], bool]:
    """Split "or null" off a part: off a list of types, `anyOf`, an enumeration."""
    nullable = False
    if isinstance(part.get("type"), list):
        others = [each for each in part["type"] if each != "null"]
        if len(others) != 1:
            raise SchemaError(path, f"type {shown(part['type'])} is not supported; wanted one type, or one and null")
        part, nullable = {**part, "type": others[0]}, True
    if isinstance(part.get("enum"), list) and None in part["enum"]:
        return {**part, "enum": [each for each in part["enum"] if each is not None]}, True
    for key in COMBINED:
        options = part.get(key)
        if isinstance(options, list) and _NULL in options:
            others = [each for each in options if each != _NULL]
            rest = {name: value for name, value in part.items() if name != key}
            inner = others[0] if len(others) == 1 else {key: others}
            return _without_null({**inner, **rest}, path)[0], True
    return part, nullable


def _enumeration(name: str, part: Mapping[str, Any], path: Sequence[str]) -> Field:
    """Return the field of an enumeration, of a constant, or of constants with titles."""
    phrases: dict[Scalar, str] = {}
    combined = next((key for key in COMBINED if key in part), None)
    if combined is None:
        values = part["enum"] if "enum" in part else [part["const"]]
    else:
        options = part[combined]
        if not isinstance(options, list) or not all("const" in each for each in options):
            raise SchemaError(path, f"{combined} is supported for one schema or null, and for constants with titles")
        values = [each["const"] for each in options]
        titled = [each for each in options if "title" in each and _kind_of(each["const"])]
        for each in titled:
            if not isinstance(each["title"], str) or not each["title"].strip():
                raise SchemaError(
                    path, f"title {shown(each['title'])}: wanted text, which is read in place of the value"
                )
        phrases = {each["const"]: each["title"] for each in titled}
    if not isinstance(values, list) or not values:
        raise SchemaError(path, f"enum {shown(values)}: wanted a list with at least one value")
    if len(values) > MAX_CHOICES:
        raise SchemaError(path, f"enum has {len(values)} values; supported are at most {MAX_CHOICES}")
    kind = _common_kind(values, path)
    given = part.get("type", kind)
    if given not in (kind, "number" if kind == "integer" else kind):
        raise SchemaError(path, f"enum {shown(values)}: its values are not of type {shown(given)}")
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise SchemaError(path, f"enum: {shown(twice)} occurs more than once")
    limits = _limits(part, kind, path)
    kept = tuple(value for value in values if not broken_limits(value, limits))
    if not kept:
        raise SchemaError(path, f"enum {shown(values)}: no value keeps to the field's other keywords")
    return Field(name, given, () if kind == "boolean" and len(kept) > 1 else kept, phrases)


def _common_kind(values: Sequence[object], path: Sequence[str]) -> Kind:
    kinds = {_kind_of(value) for value in values}
    if kinds == {"integer", "number"}:
        return "number"
    kind = kinds.pop()
    if kind is None or kinds:
        raise SchemaError(path, f"enum {shown(values)}: wanted texts, finite numbers or booleans, all alike")
    return kind


def _kind_of(value: object) -> Kind | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer" if abs(value) < WIDEST_INTEGER else None
    return "number" if isinstance(value, float) and math.isfinite(value) else None

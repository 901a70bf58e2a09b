"""The words that ask for an object: what it is, and a line for each of its fields."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vqa_ray.structured.field import Field
from vqa_ray.structured.object_schema import ObjectSchema

_REQUEST = "Describe what the image shows."
_CLOSING = "Answer with a JSON object of these fields:"
# Values of an enumeration that a prompt names.
_NAMED_CHOICES = 100
_NOUNS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "pattern": "matching {}",
}


def object_prompt(schema: ObjectSchema, request: str | None = None) -> str:
    """Return the prompt that asks for an object.

    Args:
        schema: of the object.
        request: the first words, in place of the schema's description.
    """
    return "\n".join([request or schema.description or _REQUEST, _CLOSING, *_lines(schema.fields, "")])


def _lines(fields: tuple[Field, ...], indent: str) -> Iterator[str]:
    for each in fields:
        note = f": {each.description}" if each.description else ""
        yield f"{indent}- {each.name} ({_type(each)}){note}"
        inner = each.item if each.item else each
        yield from _lines(inner.fields, f"{indent}  ")


def _type(field: Field) -> str:
    if field.item:
        words = f"list, each {_type(field.item)}"
    elif field.kind == "object":
        words = "object"
    elif field.choices:
        named = ", ".join(json.dumps(each, ensure_ascii=False) for each in field.choices[:_NAMED_CHOICES])
        more = len(field.choices) - _NAMED_CHOICES
        words = f"one of {named}" + (f" and {more} more" if more > 0 else "")
    else:
        words = _NOUNS[field.kind]
    bounds = [_BOUNDS[key].format(limit) for key, limit in field.limits.items()]
    return ", ".join([words, *bounds, *(["or null"] if field.may_be_null else [])])

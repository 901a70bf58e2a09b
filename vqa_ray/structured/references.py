"""A JSON Schema without references: each `$ref` replaced by what it names, unknown keywords refused."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from vqa_ray.errors import RequestError, one_line
from vqa_ray.structured.limits import LIMITS

# Keywords that say something to a person alone.
NOTES = ("title", "description", "default", "examples", "deprecated", "readOnly", "$comment", "$schema", "$id")
COMBINED = ("anyOf", "oneOf")
_SHAPE = ("type", "enum", "const", *COMBINED, "properties", "required", "additionalProperties", "items")
KEYWORDS = (*_SHAPE, *dict.fromkeys(key for keys in LIMITS.values() for key in keys), "$ref")
# Parts of a schema after resolution: a reference may name one many times over.
_MOST_PARTS = 10_000


class SchemaError(RequestError):
    """A schema that is not supported; the message lacks the name of its file."""

    def __init__(self, path: Sequence[str], message: str) -> None:
        super().__init__(f"field {'.'.join(path)!r}: {message}" if path else message)


def shown(value: object) -> str:
    """Return a value as it stands in a message."""
    return one_line(repr(value), 80)


class References:
    """The references of one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._parts = 0

    def resolved(self, part: object, path: Sequence[str] = (), open_refs: Sequence[str] = ()) -> dict[str, Any]:
        """Return a part of the document without references.

        Args:
            part: a schema.
            path: names of the fields that lead to it.
            open_refs: the references that lead to it.

        Raises:
            SchemaError: it is no mapping, has an unknown keyword, or a reference is recursive or names nothing.
        """
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise SchemaError((), f"has more than {_MOST_PARTS} parts")
        if not isinstance(part, dict):
            raise SchemaError(path, f"wanted a JSON Schema, a mapping, got {shown(part)}")
        _check_keywords(part, path)
        if "$ref" in part:
            target = part["$ref"]
            if target in open_refs:
                raise SchemaError(path, f"$ref {shown(target)} is recursive")
            around = {key: value for key, value in part.items() if key != "$ref"}
            named = self.resolved(self._target(target, path), path, (*open_refs, target))
            return {**named, **self.resolved(around, path, open_refs)}
        found = {key: value for key, value in part.items() if key != "$defs"}
        if isinstance(found.get("properties"), dict):
            found["properties"] = {
                name: self.resolved(each, (*path, str(name)), open_refs) for name, each in found["properties"].items()
            }
        if "items" in found:
            found["items"] = self.resolved(found["items"], (*path[:-1], f"{path[-1] if path else ''}[]"), open_refs)
        for key in COMBINED:
            if isinstance(found.get(key), list):
                found[key] = [self.resolved(each, path, open_refs) for each in found[key]]
        return found

    def _target(self, target: object, path: Sequence[str]) -> object:
        if not isinstance(target, str) or not target.startswith("#"):
            raise SchemaError(path, f"$ref {shown(target)} leads out of the schema; wanted one within it: #/$defs/Name")
        found: object = self._document
        for key in filter(None, target[1:].split("/")):
            name = key.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise SchemaError(path, f"$ref {shown(target)} names nothing in the schema")
            found = found[name]
        return found


def _check_keywords(part: Mapping[str, Any], path: Sequence[str]) -> None:
    for key in part:
        if key not in (*KEYWORDS, *NOTES, "$defs"):
            near = difflib.get_close_matches(str(key), KEYWORDS, 1, 0.7)
            hint = f"did you mean {near[0]!r}?" if near else f"supported are {', '.join(KEYWORDS)}"
            raise SchemaError(path, f"keyword {key!r} is not supported; {hint}")

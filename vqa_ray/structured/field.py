"""A field of an object: its type, its limits, its column and the column of its score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import pyarrow as pa

Scalar: TypeAlias = str | int | float | bool
Kind = Literal["string", "integer", "number", "boolean", "array", "object"]

SCORE = pa.float32()
_ARROW = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
# The most that a model writes where a schema sets no bound; a text of digits would not end.
_LARGEST = {"integer": 10**15, "number": 1e15}


@dataclass(frozen=True)
class Field:
    """One field of an object, or the items of an array.

    Attributes:
        name: of the property, and of its column.
        kind: the JSON type.
        choices: the values that it may have; empty where it is not closed.
        phrases: choice → the words that a model reads in its place.
        limits: further keywords of JSON Schema (`minimum`, `pattern`, `minItems`), as given.
        fields: of an object.
        item: of an array.
        nullable: whether it may be null.
        required: whether it must be there. A model writes null for a field that it leaves out.
        description: what it means, for a person or as a question.
    """

    name: str
    kind: Kind
    choices: tuple[Scalar, ...] = ()
    phrases: Mapping[Scalar, str] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    fields: tuple[Field, ...] = ()
    item: Field | None = None
    nullable: bool = False
    required: bool = True
    description: str = ""

    @property
    def is_closed(self) -> bool:
        """Whether its values can be counted: an enumeration, or true and false."""
        return bool(self.choices) or self.kind == "boolean"

    @property
    def may_be_null(self) -> bool:
        """Whether its column may be null in a row without error."""
        return self.nullable or not self.required

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of its column."""
        if self.kind == "object":
            return pa.struct([(each.name, each.arrow_type) for each in self.fields])
        return pa.list_(self.item.arrow_type) if self.item else _ARROW[self.kind]

    @property
    def score_type(self) -> pa.DataType:
        """The type of its score: a number, a list with one for each item, or a struct with one for each field."""
        if self.kind == "object":
            return pa.struct([(each.name, each.score_type) for each in self.fields])
        return pa.list_(self.item.score_type) if self.item else SCORE

    def wire(self) -> dict[str, Any]:
        """Return the JSON Schema that a model is held to, in the strict form of OpenAI."""
        written = self._wire()
        if self.description:
            written["description"] = self.description
        if not self.may_be_null:
            return written
        return {"anyOf": [written, {"type": "null"}]}

    def _wire(self) -> dict[str, Any]:
        if self.kind == "object":
            return object_wire(self.fields)
        if self.item:
            return {"type": "array", "items": self.item.wire(), **self.limits}
        if self.choices:
            return {"type": self.kind, "enum": list(self.choices)}
        limits = dict(self.limits)
        if self.kind in _LARGEST:
            if not limits.keys() & {"minimum", "exclusiveMinimum"}:
                limits["minimum"] = -_LARGEST[self.kind]
            if not limits.keys() & {"maximum", "exclusiveMaximum"}:
                limits["maximum"] = _LARGEST[self.kind]
        return {"type": self.kind, **limits}

    def leaves(self, path: str = "") -> Iterator[tuple[str, Field]]:
        """Yield (dotted path, field) of the fields below that hold values: of objects theirs, of arrays the items."""
        path = f"{path}.{self.name}" if path else self.name
        if self.kind == "object":
            for each in self.fields:
                yield from each.leaves(path)
        elif self.item:
            yield from replace(self.item, name=f"{self.name}[]").leaves(path.rpartition(".")[0])
        else:
            yield path, self


def object_wire(fields: tuple[Field, ...]) -> dict[str, Any]:
    """Return the JSON Schema of an object with all of these fields and no others."""
    return {
        "type": "object",
        "properties": {each.name: each.wire() for each in fields},
        "required": [each.name for each in fields],
        "additionalProperties": False,
    }

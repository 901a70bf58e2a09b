"""The schema of the object that a model writes about an image, and the columns of its fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from vqa_ray.errors import RequestError
from vqa_ray.schema import CAPTION, IDENTITY, IMAGE_URI
from vqa_ray.structured.field import Field, object_wire

# The object as the model wrote it; of a row in error, as far as it came.
OBJECT_JSON = pa.field("object_json", pa.string())
_HEAD = (*IDENTITY[:2], IMAGE_URI)
_TAIL = tuple(CAPTION)[CAPTION.get_field_index("finish_reason") :]


@dataclass(frozen=True)
class ObjectSchema:
    """A checked schema.

    Attributes:
        fields: of the object, in order.
        document: the JSON Schema as given, references resolved; every object that is written is valid by it.
        description: what the object is; empty for none.
    """

    fields: tuple[Field, ...]
    document: Mapping[str, Any]
    description: str = ""

    @cached_property
    def wire(self) -> dict[str, Any]:
        """The JSON Schema that a model is held to: all fields required, null for one that may be left out."""
        return object_wire(self.fields)

    @cached_property
    def form(self) -> pa.Schema:
        """The columns of a run: identity, two for each field, the text, status."""
        fields = [
            column
            for each in self.fields
            for column in (pa.field(each.name, each.arrow_type), pa.field(f"{each.name}_score", each.score_type))
        ]
        return pa.schema([*_HEAD, *fields, OBJECT_JSON, *_TAIL])

    @property
    def fingerprint(self) -> str:
        """A hash of all that can change a value: 16 hex digits of a SHA-256."""
        facts = [self.document, [[path, list(each.phrases.items())] for path, each in self.leaves() if each.phrases]]
        return hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()[:16]

    def leaves(self) -> Iterator[tuple[str, Field]]:
        """Yield (dotted path, field) of the fields that hold values; see `Field.leaves`."""
        for each in self.fields:
            yield from each.leaves()

    def check_columns(self, where: str) -> None:
        """Check that the columns of the fields differ from each other and from the columns of every run.

        Raises:
            RequestError: two columns have one name, case ignored.
        """
        own = {field.name.casefold() for field in (*_HEAD, OBJECT_JSON, *_TAIL)} | {"question_id"}
        made: dict[str, str] = {}
        for each in self.fields:
            for column in (each.name, f"{each.name}_score"):
                key = column.casefold()
                if key in own:
                    raise RequestError(
                        f"{where}: field {each.name!r}: the output has a column {key!r} of its own; rename the field"
                    )
                if key in made:
                    raise RequestError(
                        f"{where}: field {each.name!r}: column {column!r} is made by field {made[key]!r} already; "
                        "rename one of them"
                    )
                made[key] = each.name

"""Whether an update can go on from a version of an index. Pure."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray.errors import RequestError
from vqa_ray.index.update import IndexSchema
from vqa_ray.index.version import Version
from vqa_ray.runs.differences import option_of, written


def require_compatible(uri: str, index_schema: IndexSchema, base: Version) -> None:
    """Refuse to go on from a version that was made otherwise.

    Raises:
        RequestError: the model, its vectors or the options differ; both are named.
    """
    mine, theirs = index_schema.model, base.model
    if mine["fingerprint"] != theirs["fingerprint"]:
        same_name = mine["reference"] == theirs["reference"]
        other = "this model when it had other files" if same_name else f"another model, {theirs['reference']}"
        raise RequestError(
            f"--model {mine['reference']}: the index {uri} was made with {other}; use that model, or another --output"
        )
    if (index_schema.vectors, index_schema.dimension) != (base.vectors, base.dimension):
        raise RequestError(
            f"--model {mine['reference']}: gives {index_schema.vectors} × {index_schema.dimension} numbers per image; "
            f"the index {uri}, made with {theirs['reference']}, holds {base.vectors} × {base.dimension}"
        )
    names = sorted({*index_schema.command, *base.command})
    pairs = ((name, base.command.get(name), index_schema.command.get(name)) for name in names)
    differing = [f"{option_of(name)}: {written(was)} → {written(now)}" for name, was, now in pairs if was != now]
    if differing:
        raise RequestError(f"--output {uri}: the index was made with other options: {'; '.join(differing)}; use those")


def require_same_columns(index: pa.Schema, rows: pa.Schema) -> None:
    """Refuse rows with a column that has another type in the index.

    Raises:
        RequestError: there is one; both types are named.
    """
    for field in rows:
        there = index.field(field.name).type
        if there != field.type:
            raise RequestError(f"--keep {field.name}: is {field.type} in the input and {there} in the index")

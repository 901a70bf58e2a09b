"""The schema of `Model.fill`, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, TypeAlias

from pydantic import BaseModel

from vqa_ray.api.rows import in_python
from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.row_text.template import columns_of
from vqa_ray.stages.fill import check_model
from vqa_ray.structured.load import document_of_class, load_schema
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.structured.parse import parse_schema
from vqa_ray.structured.prompt import object_prompt

SchemaLike: TypeAlias = type[BaseModel] | Mapping[str, Any] | str | PathLike[str]


def checked_schema(given: SchemaLike, prompt: str | None, model: Checkpoint) -> ObjectSchema:
    """Return a schema whose objects a model can fill.

    Args:
        given: see `Model.fill`.
        prompt: the words that ask for the object, or None.
        model: that fills it.

    Raises:
        RequestError: the schema cannot be read or is not supported, the model cannot fill a field, or the prompt is
            blank, names a column, or is for a model that writes nothing.
    """
    try:
        schema = _schema(given)
        writes = check_model(schema, model, "schema")
    except RequestError as error:
        raise RequestError(in_python(str(error))) from error
    if prompt is not None and not (isinstance(prompt, str) and prompt.strip()):
        raise RequestError(f"prompt is {prompt!r}; wanted is a text that is not blank")
    if prompt is not None and not writes:
        raise RequestError(f"prompt: {model.label} is asked by the fields of the schema; describe them there")
    columns = columns_of([object_prompt(schema, prompt)])
    if columns:
        raise RequestError(f"schema: a text names the column {{{columns[0]}}}; only `vqa-ray answer` reads columns")
    return schema


def _schema(given: SchemaLike) -> ObjectSchema:
    if isinstance(given, type) and issubclass(given, BaseModel):
        return parse_schema(document_of_class(given, given.__name__), given.__name__)
    if isinstance(given, Mapping):
        return parse_schema(dict(given), "schema")
    if isinstance(given, str | PathLike):
        return load_schema(str(given))
    raise RequestError(f"schema is {given!r}; wanted is a pydantic model, a mapping, or the name of a file or a class")

"""Read a schema: a JSON or YAML file, the taxonomy of `tag`, or a pydantic model."""

from __future__ import annotations

import importlib
import json
import re
import sys
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage import filesystem as storage
from vqa_ray.storage.store_errors import refused
from vqa_ray.strict_yaml import StrictLoader, unique
from vqa_ray.structured.conversion import schema_of_taxonomy
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.structured.parse import parse_schema
from vqa_ray.taxonomy.file import parse_taxonomy
from vqa_ray.text_encoding import decode_text

MAX_SCHEMA_BYTES = 16 * 2**20
SHIPPED_SCHEMAS = ("document", "chart")
"""Schemas that come with the package; a file of such a name is read as ./NAME."""
# `module:Class`; the URI of a file has a slash behind its colon, if it has one.
_CLASS = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def load_schema(reference: str) -> ObjectSchema:
    """Read a schema.

    Args:
        reference: one of `SHIPPED_SCHEMAS`, a path or URI of a JSON Schema or of a taxonomy (tags.yaml), or
            `module:Class` of a pydantic model.

    Raises:
        RequestError: it cannot be read, or see `parse_schema`.
    """
    if reference in SHIPPED_SCHEMAS:
        text = resources.files("vqa_ray.structured").joinpath(f"schemas/{reference}.json").read_text("utf-8")
        return parse_schema(json.loads(text), reference)
    named = _CLASS.fullmatch(reference)
    if named:
        return parse_schema(_of_class(reference, *named.groups()), reference)
    with refused(f"{reference}: the schema cannot be read (shipped by name: {', '.join(SHIPPED_SCHEMAS)})"):
        data = storage.read_bytes(reference, MAX_SCHEMA_BYTES)
    try:
        text = decode_text(data)
        is_json = text.lstrip().startswith("{")
        document = json.loads(text, object_pairs_hook=unique) if is_json else yaml.load(text, StrictLoader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise RequestError(f"{reference}: neither JSON nor YAML: {one_line(error, 160)}") from error
    if isinstance(document, dict) and "attributes" in document and "type" not in document:
        return schema_of_taxonomy(parse_taxonomy(text, reference), reference)
    return parse_schema(document, reference)


def is_class(reference: str) -> bool:
    """Return whether a schema is given as `module:Class`, which is imported and not read."""
    return _CLASS.fullmatch(reference) is not None


def _of_class(reference: str, module: str, name: str) -> dict[str, Any]:
    before = list(sys.path)
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # Their module may raise anything.
        raise RequestError(f"--schema {reference}: cannot be imported: {one_line(repr(error), 160)}") from error
    finally:
        sys.path[:] = before
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise RequestError(f"--schema {reference}: is no pydantic model; wanted module:Class of one")
    return document_of_class(found, f"--schema {reference}")


def document_of_class(model: type[BaseModel], where: str) -> dict[str, Any]:
    """Return the JSON Schema of a pydantic model.

    Raises:
        RequestError: it has none.
    """
    try:
        return model.model_json_schema()
    except PydanticUserError as error:
        raise RequestError(f"{where}: has no JSON Schema: {one_line(error, 160)}") from error

"""From a taxonomy (`tags.yaml`) to a schema and back, as far as one can say what the other says."""

from __future__ import annotations

import logging
from typing import Any

import yaml
from pydantic import ValidationError

from vqa_ray.errors import RequestError, one_line
from vqa_ray.structured.closed import field_question
from vqa_ray.structured.field import Field
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.structured.parse import parse_schema
from vqa_ray.taxonomy.attribute import DEFAULT_THRESHOLD, Attribute
from vqa_ray.taxonomy.taxonomy import Taxonomy

logger = logging.getLogger(__name__)


def schema_of_taxonomy(taxonomy: Taxonomy, where: str) -> ObjectSchema:
    """Return the schema of a taxonomy's attributes: an enumeration each, or an array of one where several may be given.

    A schema has no thresholds: an attribute with one of its own may be null, and a message says that it is left out.

    Raises:
        RequestError: an attribute of which one choice or none is given by questions of yes and no, or one with a
            condition, a model of its own, a shortlist, or choices that are more than their phrase.
    """
    properties: dict[str, Any] = {}
    bounded = [each.name for each in taxonomy.attributes if each.threshold != DEFAULT_THRESHOLD[each.mode]]
    if bounded:
        logger.warning("%s: a schema has no thresholds; those of %s are left out", where, ", ".join(bounded))
    for each in taxonomy.attributes:
        unsaid = [name for name in ("when", "model", "shortlist") if getattr(each, name) is not None]
        unsaid += [f"choice {name!r}" for name, choice in each.choices.items() if not isinstance(choice, str)]
        if unsaid:
            raise RequestError(f"{where}: attribute {each.name!r}: a schema cannot say its {unsaid[0]}")
        if each.mode == "yes_no" and not each.multi:
            raise RequestError(
                f"{where}: attribute {each.name!r}: mode yes_no of one choice alone cannot be said in a schema; use "
                "multi: true, or mode: choices"
            )
        if all(choice == phrase for choice, phrase in each.choices.items()):
            closed: dict[str, Any] = {"type": "string", "enum": list(each.choices)}
        else:
            closed = {"oneOf": [{"const": choice, "title": phrase} for choice, phrase in each.choices.items()]}
        if each.multi:
            part: dict[str, Any] = {"type": "array", "items": closed}
        else:
            part = {"anyOf": [closed, {"type": "null"}]} if each.threshold else closed
        properties[each.name] = {**part, "description": each.question}
    document = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return parse_schema(document, where)


def taxonomy_of_schema(schema: ObjectSchema, where: str) -> Taxonomy:
    """Return the taxonomy of a schema.

    Raises:
        RequestError: a field that is neither an enumeration of texts nor an array of one, or that may be null.
    """
    try:
        return Taxonomy(attributes=[_attribute(field, where) for field in schema.fields])
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise RequestError(f"{where}: cannot be a taxonomy: {one_line(problem['msg'])}") from error


def taxonomy_yaml(taxonomy: Taxonomy) -> str:
    """Return a taxonomy of `taxonomy_of_schema` as the text of a `tags.yaml`."""
    attributes = []
    for each in taxonomy.attributes:
        plain = all(choice == phrase for choice, phrase in each.choices.items())
        facts: dict[str, Any] = {"name": each.name, "question": each.question}
        facts["choices"] = list(each.choices) if plain else dict(each.choices)
        attributes.append(facts | ({"mode": each.mode, "multi": True} if each.multi else {}))
    return yaml.safe_dump({"attributes": attributes}, allow_unicode=True, sort_keys=False, width=120)


def _attribute(field: Field, where: str) -> Attribute:
    closed = field.item or field
    if not closed.choices or closed.kind != "string" or field.may_be_null or closed.may_be_null:
        raise RequestError(
            f"{where}: field {field.name!r}: an attribute of a taxonomy is a required enum of texts, or an array of one"
        )
    choices = {str(choice): closed.phrases.get(choice, str(choice)) for choice in closed.choices}
    return Attribute.model_validate(
        {
            "name": field.name,
            "question": field_question(field),
            "choices": choices,
            "multi": field.item is not None,
            "mode": "yes_no" if field.item else "choices",
        }
    )

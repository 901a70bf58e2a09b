"""The families that write objects held to a schema; the others fill closed fields by their scores."""

from __future__ import annotations

from vqa_ray.models.endpoint.family import ENDPOINT
from vqa_ray.models.registry import Family


def writes_objects(family: Family) -> bool:
    """Whether models of a family are `vqa_ray.models.protocols.StructuredModel`."""
    return family.is_chat or family == ENDPOINT

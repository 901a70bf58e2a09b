"""The family of models behind an endpoint. No torch, no aiohttp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models import score_meanings
from vqa_ray.models.lazy_class import LazyClass
from vqa_ray.models.registry import Family
from vqa_ray.models.transforms.chat import WholePatches

PREFIX = "openai:"

# The largest area of an image that is sent; --max-pixels sets another.
MAX_PIXELS = 1536 * 1536


def image_transform(config: Mapping[str, Any], label: str) -> WholePatches:
    """Make the transform of images to send: as they are, within an area."""
    del config, label
    return WholePatches(1, 1, MAX_PIXELS)


ENDPOINT = Family(
    name="openai",
    architecture="",
    tasks=frozenset(("answer", "score", "caption")),
    score_meaning=score_meanings.ENDPOINT,
    shared_work="decided by the server: each question is a request of its own",
    engine=LazyClass("endpoint.model", "EndpointModel"),
    transform=image_transform,
    takes_template=False,
    takes_several=True,
    has_beams=False,
)


def model_name(reference: str) -> str:
    """Return the name by which the server knows the model of `openai:NAME`.

    Raises:
        ModelLoadError: there is no name.
    """
    name = reference.removeprefix(PREFIX)
    if not name or not name.isprintable() or name != name.strip():
        raise ModelLoadError(f"model {reference!r}: wanted openai:NAME, the name that the endpoint gives it")
    return name

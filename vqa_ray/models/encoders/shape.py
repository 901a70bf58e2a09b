"""The number and length of the vectors that an encoder makes of an image, from its config alone. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.types import EmbeddingShape

# Defaults of transformers' config classes.
_CLIP_PROJECTION, _SIGLIP_HIDDEN = 512, 768
_BLIP2_QUERIES, _BLIP2_PROJECTION = 32, 256


def clip_shape(config: Mapping[str, Any], label: str) -> EmbeddingShape:
    """Return the shape of a CLIP's embeddings.

    Raises:
        ModelLoadError: a size is not a positive number.
    """
    return EmbeddingShape(1, _number(config, "projection_dim", _CLIP_PROJECTION, label))


def siglip_shape(config: Mapping[str, Any], label: str) -> EmbeddingShape:
    """Return the shape of a SigLIP's embeddings; as `clip_shape`.

    Raises:
        ModelLoadError: a size is not a positive number, or vectors of images and texts differ in length.
    """
    vision, text = (config.get(name) or {} for name in ("vision_config", "text_config"))
    of_images = _number(vision, "hidden_size", _SIGLIP_HIDDEN, f"{label}: vision_config")
    hidden = _number(text, "hidden_size", _SIGLIP_HIDDEN, f"{label}: text_config")
    of_texts = _number(text, "projection_size", hidden, f"{label}: text_config")
    if of_images != of_texts:
        raise ModelLoadError(
            f"{label}: config.json makes vectors of {of_images} numbers of images (vision_config.hidden_size) and of "
            f"{of_texts} of texts (text_config.projection_size); they must agree"
        )
    return EmbeddingShape(1, of_images)


def blip2_shape(config: Mapping[str, Any], label: str) -> EmbeddingShape:
    """Return the shape of the embeddings of a BLIP-2 for retrieval; as `clip_shape`."""
    return EmbeddingShape(
        _number(config, "num_query_tokens", _BLIP2_QUERIES, label),
        _number(config, "image_text_hidden_size", _BLIP2_PROJECTION, label),
    )


def _number(config: Mapping[str, Any], name: str, usual: int, label: str) -> int:
    given = config.get(name)
    value = usual if given is None else given
    if not isinstance(value, int) or value < 1:
        raise ModelLoadError(f"{label}: {name} of config.json is {value!r}, wanted a positive number")
    return value

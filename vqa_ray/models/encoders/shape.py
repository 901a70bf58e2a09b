"""How many vectors an encoder makes of an image and how long they are, from its config alone. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.types import EmbeddingShape

# What transformers' config classes take where config.json does not say.
_CLIP_PROJECTION, _SIGLIP_HIDDEN = 512, 768
_BLIP2_QUERIES, _BLIP2_PROJECTION = 32, 256


def shape_from_config(family: str, config: Mapping[str, Any], origin: str) -> EmbeddingShape:
    """The shape of a checkpoint's embeddings.

    Args:
        family: `clip`, `siglip` or `blip-2`.
        config: its config.json.
        origin: what messages begin with.

    Raises:
        ModelLoadError: a size is no positive number, or images and texts would have different ones.
    """
    if family == "clip":
        return EmbeddingShape(1, _number(config, "projection_dim", _CLIP_PROJECTION, origin))
    if family == "blip-2":
        return EmbeddingShape(
            _number(config, "num_query_tokens", _BLIP2_QUERIES, origin),
            _number(config, "image_text_hidden_size", _BLIP2_PROJECTION, origin),
        )
    vision, text = (config.get(name) or {} for name in ("vision_config", "text_config"))
    of_images = _number(vision, "hidden_size", _SIGLIP_HIDDEN, f"{origin}: vision_config")
    hidden = _number(text, "hidden_size", _SIGLIP_HIDDEN, f"{origin}: text_config")
    of_texts = _number(text, "projection_size", hidden, f"{origin}: text_config")
    if of_images != of_texts:
        raise ModelLoadError(
            f"{origin}: config.json makes vectors of {of_images} numbers of images (vision_config.hidden_size) and of "
            f"{of_texts} of texts (text_config.projection_size); they must agree"
        )
    return EmbeddingShape(1, of_images)


def _number(config: Mapping[str, Any], name: str, usual: int, origin: str) -> int:
    given = config.get(name)
    value = usual if given is None else given
    if not isinstance(value, int) or value < 1:
        raise ModelLoadError(f"{origin}: {name} of config.json is {value!r}, wanted a positive number")
    return value

"""The tokenizers of the BLIP families, checked for what would make their answers silently wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.weights import load_text_tokenizer

IMAGE_TOKEN = "<image>"


def load_tokenizer(path: Path, image_token: int | None) -> Any:
    """Load a checkpoint's tokenizer.

    Args:
        path: its directory.
        image_token: the id that the config gives `<image>`; None where the family has none.

    Raises:
        ModelLoadError: there is none, it cannot pad, or it lacks the image token.
    """
    label = f"model {path}"
    tokenizer = load_text_tokenizer(path)
    if image_token is not None and tokenizer.get_vocab().get(IMAGE_TOKEN) != image_token:
        found = tokenizer.get_vocab().get(IMAGE_TOKEN)
        raise ModelLoadError(
            f"{label}: its tokenizer gives {IMAGE_TOKEN} the id {found}, config.json's image_token_index is "
            f"{image_token}; they must agree, or images have no place in the text"
        )
    return tokenizer


def context_limit(text_config: Any, tokenizer: Any) -> int:
    """Return the tokens that a language model reads at most: its position table, else its tokenizer's limit."""
    positions = getattr(text_config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        return positions
    length = tokenizer.model_max_length
    return int(length) if length < 1_000_000 else 512

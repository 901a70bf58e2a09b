"""CLIP: images and texts as one vector each, trained to agree (Radford et al. 2021, arXiv:2103.00020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.weights import check_image_side, load_text_tokenizer, load_weights
from vqa_ray.models.encoders.clip_modules import ClipModules, load_plain
from vqa_ray.models.encoders.dual_encoder import DualEncoder
from vqa_ray.models.encoders.vision_text import VisionTextBackbone
from vqa_ray.models.layers.device import choose_device, choose_dtype
from vqa_ray.models.transforms.clip import ClipTransform
from vqa_ray.models.transforms.wordpiece import load_wordpiece

# The `eos_token_id` of old configs, by which transformers reads a text at its highest token id instead.
_OLD_CLOSING = 2


class ClipEncoder(DualEncoder):
    """A loaded `CLIPModel`."""

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> ClipBackbone:
        """See `DualEncoder.load_backbone`.

        Raises:
            ModelLoadError: also a processor that crops to another size than the encoder sees, or a tokenizer that
                closes a text with another token than the one at which the model reads it.
        """
        path, transform = checkpoint.directory, checkpoint.transform
        assert isinstance(transform, ClipTransform)
        where = choose_device(device)
        tokenizer = load_wordpiece(path) or load_text_tokenizer(path)
        model = _load(checkpoint, choose_dtype(dtype, where, checkpoint.config, checkpoint.label), tokenizer)
        check_image_side(transform.crop, model, checkpoint.label)
        check_closing(tokenizer, model.config.text_config.eos_token_id, checkpoint.label)
        return ClipBackbone(model.to(where), tokenizer, transform, where)


class ClipBackbone(VisionTextBackbone):
    """See `EncoderBackbone`.

    Args:
        model: a `CLIPModel` of transformers or `ClipModules`, see `VisionTextBackbone`.
        tokenizer, transform, device: see `VisionTextBackbone`.
    """

    def __init__(self, model: Any, tokenizer: Any, transform: ClipTransform, device: torch.device) -> None:
        width = model.config.projection_dim
        super().__init__(model, tokenizer, transform, device, crop=transform.crop, dimension=width)

    def images(self, pixels: Tensor) -> Tensor:
        """See `EncoderBackbone.images`."""
        vision = self._model.vision_model
        if self._layers is None:
            seen = vision(pixel_values=self._pixels(pixels)).pooler_output[:, None]
        else:
            patches, parts = self._patches(pixels), vision.embeddings
            first = parts.class_embedding.expand(len(pixels), 1, -1)
            hidden = torch.cat([first, patches], dim=1) + parts.position_embedding.weight
            hidden = vision.pre_layrnorm(hidden)
            seen = vision.post_layernorm(self._layers(hidden, only_first=True))
        projected: Tensor = self._model.visual_projection(seen)
        return projected

    def texts(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """See `EncoderBackbone.texts`."""
        if isinstance(self._model, ClipModules):
            return self._model.text_features(tokens["input_ids"])
        return super().texts(tokens)


def _load(checkpoint: Checkpoint, dtype: torch.dtype, tokenizer: Any) -> Any:
    """Load the checkpoint without transformers if it needs no conversion, else as a `CLIPModel`."""
    # Behind padding on the left, a text would have other places.
    is_padded_right = tokenizer.padding_side == "right"
    plain = load_plain(checkpoint.directory, checkpoint.config, dtype) if is_padded_right else None
    if plain is not None:
        return plain
    from transformers import CLIPModel

    return load_weights(CLIPModel, checkpoint.directory, dtype)


def check_closing(tokenizer: Any, closing: int, label: str) -> None:
    """Refuse a checkpoint whose texts would all be read at their first token, and so be alike."""
    ids = tokenizer("a")["input_ids"]
    if closing not in (_OLD_CLOSING, *ids):
        raise ModelLoadError(
            f"{label}: its tokenizer closes a text with the id {ids[-1]}, text_config.eos_token_id of config.json is "
            f"{closing}; they must agree, or no text would be read"
        )

"""SigLIP and SigLIP 2 of fixed resolution: as CLIP, trained pair by pair (Zhai et al. 2023, arXiv:2303.15343)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.blip.checkpoint import Normalizer
from vqa_ray.models.checkpoint.files import image_processor_config, read_json
from vqa_ray.models.checkpoint.weights import load_text_tokenizer, load_weights
from vqa_ray.models.encoders.dual_encoder import DualEncoder
from vqa_ray.models.layers.device import choose_device, choose_dtype
from vqa_ray.models.layers.patch_embedding import Patches
from vqa_ray.models.layers.vision_encoder import vision_layers
from vqa_ray.models.registry import COSINE_SCORE
from vqa_ray.models.transforms.siglip import transform_from_config
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.types import EmbeddingShape


class SiglipEncoder(DualEncoder):
    """A loaded `SiglipModel`."""

    score_meaning = COSINE_SCORE

    @classmethod
    def load_towers(cls, path: Path, device: str | None, dtype: str | None) -> SiglipTowers:
        """See `DualEncoder.load_towers`.

        Raises:
            ModelLoadError: also a processor that resizes to another size than the encoder sees, or an encoder without
                its pooling head.
        """
        from transformers import SiglipModel

        where = choose_device(device)
        origin = f"model {path}"
        transform = transform_from_config(image_processor_config(path), origin)
        model = load_weights(SiglipModel, path, choose_dtype(dtype, where, read_json(path, "config.json"), origin))
        side = model.config.vision_config.image_size
        if transform.side != side:
            raise ModelLoadError(
                f"{origin}: its processor makes images of {transform.side} pixels, its encoder takes {side}"
            )
        if not model.config.vision_config.vision_use_head:
            raise ModelLoadError(f"{origin}: vision_use_head is false, so an image has no vector of its own")
        return SiglipTowers(model.to(where), load_text_tokenizer(path, "siglip"), transform, where)


class SiglipTowers:
    """See `Towers`.

    A text is read at its last place whatever stands there, so all are padded to the length of the training.

    Args:
        model: a `SiglipModel` in evaluation mode, on its device; it gives up its vision encoder.
        tokenizer: the checkpoint's.
        transform: the size and the normalisation of its images.
        device: where it is.
    """

    padding: bool | str = "max_length"

    def __init__(self, model: Any, tokenizer: Any, transform: SquareTransform, device: torch.device) -> None:
        self.device = device
        self.tokenizer = tokenizer
        self.shape = EmbeddingShape(1, model.config.vision_config.hidden_size)
        self.crop = transform.side
        self.image_tokens = (transform.side // model.config.vision_config.patch_size) ** 2
        self.text_tokens: int = model.config.text_config.max_position_embeddings
        self._model = model
        self._layers = vision_layers(model.vision_model)
        self._pixels = Normalizer(transform, device, model.dtype)
        self._patches = Patches(model.vision_model.embeddings.patch_embedding, transform.mean, transform.std)

    def images(self, pixels: Tensor) -> Tensor:
        """See `Towers.images`."""
        vision = self._model.vision_model
        if self._layers is None:
            seen: Tensor = vision(pixel_values=self._pixels(pixels)).pooler_output
        else:
            hidden = self._patches(pixels) + vision.embeddings.position_embedding.weight
            seen = vision.head(vision.post_layernorm(self._layers(hidden)))
        return seen[:, None]

    def texts(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """See `Towers.texts`."""
        read = {name: values for name, values in tokens.items() if name in ("input_ids", "attention_mask")}
        projected: Tensor = self._model.get_text_features(**read).pooler_output
        return projected

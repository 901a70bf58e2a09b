"""The common part of CLIP and SigLIP: a vision encoder with repacked layers, and a text encoder of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.layers.normalizer import Normalisation, Normalizer
from vqa_ray.models.layers.patch_embedding import Patches
from vqa_ray.models.layers.vision_encoder import vision_layers
from vqa_ray.types import EmbeddingShape


class VisionTextBackbone:
    """The part of an `EncoderBackbone` that does not depend on how an image is pooled.

    Args:
        model: a `CLIPModel` or `SiglipModel` of transformers, or modules of the same names, in evaluation mode and on
            its device; it gives up its vision encoder.
        tokenizer: the checkpoint's.
        transform: the normalisation of its images.
        device: where the model is.
        crop: pixels of both sides of what the encoder sees.
        dimension: of the vectors.
    """

    padding: bool | str = True

    def __init__(
        self, model: Any, tokenizer: Any, transform: Normalisation, device: torch.device, *, crop: int, dimension: int
    ) -> None:
        self.device = device
        self.tokenizer = tokenizer
        self.shape = EmbeddingShape(1, dimension)
        self.crop = crop
        self.image_tokens = len(model.vision_model.embeddings.position_embedding.weight)
        self.text_tokens: int = model.config.text_config.max_position_embeddings
        self._model = model
        self._layers = vision_layers(model.vision_model)
        self._pixels = Normalizer(transform, device, model.dtype)
        self._patches = Patches(model.vision_model.embeddings.patch_embedding, transform.mean, transform.std)

    def texts(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """See `EncoderBackbone.texts`."""
        read = {name: values for name, values in tokens.items() if name in ("input_ids", "attention_mask")}
        projected: Tensor = self._model.get_text_features(**read).pooler_output
        return projected

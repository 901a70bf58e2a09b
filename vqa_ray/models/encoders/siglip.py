"""SigLIP and SigLIP 2 of fixed resolution: as CLIP, trained pair by pair (Zhai et al. 2023, arXiv:2303.15343)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.weights import check_image_side, load_text_tokenizer, load_weights
from vqa_ray.models.encoders.dual_encoder import DualEncoder
from vqa_ray.models.encoders.vision_text import VisionTextBackbone
from vqa_ray.models.layers.device import choose_device, choose_dtype
from vqa_ray.models.transforms.square import SquareTransform


class SiglipEncoder(DualEncoder):
    """A loaded `SiglipModel`."""

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> SiglipBackbone:
        """See `DualEncoder.load_backbone`.

        Raises:
            ModelLoadError: also a processor that resizes to another size than the encoder sees, or an encoder without
                its pooling head.
        """
        from transformers import SiglipModel

        path, transform, label = checkpoint.directory, checkpoint.transform, checkpoint.label
        assert isinstance(transform, SquareTransform)
        where = choose_device(device)
        model = load_weights(SiglipModel, path, choose_dtype(dtype, where, checkpoint.config, label))
        check_image_side(transform.side, model, label)
        if not model.config.vision_config.vision_use_head:
            raise ModelLoadError(f"{label}: vision_use_head is false, so an image has no vector of its own")
        return SiglipBackbone(model.to(where), load_text_tokenizer(path, "siglip"), transform, where)


class SiglipBackbone(VisionTextBackbone):
    """See `EncoderBackbone`; the text encoder pools at the last position, so texts are padded as in training."""

    padding: bool | str = "max_length"

    def __init__(self, model: Any, tokenizer: Any, transform: SquareTransform, device: torch.device) -> None:
        width = model.config.vision_config.hidden_size
        super().__init__(model, tokenizer, transform, device, crop=transform.side, dimension=width)

    def images(self, pixels: Tensor) -> Tensor:
        """See `EncoderBackbone.images`."""
        vision = self._model.vision_model
        if self._layers is None:
            seen: Tensor = vision(pixel_values=self._pixels(pixels)).pooler_output
        else:
            hidden = self._patches(pixels) + vision.embeddings.position_embedding.weight
            seen = vision.head(vision.post_layernorm(self._layers(hidden)))
        return seen[:, None]

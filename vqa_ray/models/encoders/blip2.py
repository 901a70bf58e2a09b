"""BLIP-2's image-text contrast: an image is the vectors of its query tokens (Li et al. 2023, arXiv:2301.12597)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.spread import load_or_spread
from vqa_ray.models.checkpoint.weights import load_text_tokenizer
from vqa_ray.models.encoders.dual_encoder import DualEncoder
from vqa_ray.models.layers.normalizer import Normalizer
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.types import EmbeddingShape


class Blip2Encoder(DualEncoder):
    """A loaded `Blip2ForImageTextRetrieval`; of its two heads the contrastive one, which needs no pairs."""

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> Blip2RetrievalBackbone:
        """See `DualEncoder.load_backbone` and `load_or_spread`; `float16` is possible on CUDA."""
        from transformers import Blip2ForImageTextRetrieval

        model, where, transform = load_or_spread(Blip2ForImageTextRetrieval, checkpoint, device=device, dtype=dtype)
        return Blip2RetrievalBackbone(model, load_text_tokenizer(checkpoint.directory), transform, where)


class Blip2RetrievalBackbone:
    """See `EncoderBackbone`.

    Args:
        model: a `Blip2ForImageTextRetrieval` in evaluation mode.
        tokenizer: of its Q-Former.
        transform: the size and the normalisation of its images.
        device: of its vision encoder.
    """

    padding: bool | str = True

    def __init__(self, model: Any, tokenizer: Any, transform: SquareTransform, device: torch.device) -> None:
        self.device = device
        self.tokenizer = tokenizer
        self.shape = EmbeddingShape(model.config.num_query_tokens, model.config.image_text_hidden_size)
        self.crop = transform.side
        self.image_tokens = 1 + (transform.side // model.config.vision_config.patch_size) ** 2
        self.text_tokens: int = model.config.qformer_config.max_position_embeddings
        self._model = model
        self._pixels = Normalizer(transform, device, next(model.vision_model.parameters()).dtype)

    def images(self, pixels: Tensor) -> Tensor:
        """See `EncoderBackbone.images`."""
        seen = self._model.vision_model(pixel_values=self._pixels(pixels)).last_hidden_state
        queries = self._model.query_tokens.expand(len(seen), -1, -1)
        found = self._model.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state
        return self._projected(found, self._model.vision_projection)

    def texts(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """See `EncoderBackbone.texts`; a text is its first token."""
        embedded = self._model.embeddings(input_ids=tokens["input_ids"])
        read = self._model.qformer(
            query_embeds=embedded, query_length=0, attention_mask=tokens["attention_mask"]
        ).last_hidden_state
        return self._projected(read[:, 0], self._model.text_projection)

    def _projected(self, hidden: Tensor, projection: Any) -> Tensor:
        # The Q-Former may compute in float32 where the rest does not.
        projected: Tensor = projection(hidden.to(projection.weight.dtype))
        return projected

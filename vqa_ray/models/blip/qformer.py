"""The common part of BLIP-2 and InstructBLIP: vision encoder, Q-Former and a language model behind it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.blip.tokenizer import context_limit
from vqa_ray.models.generation.language_model import LanguageModelBackbone, language_model_adapter
from vqa_ray.models.layers.normalizer import Normalizer
from vqa_ray.models.transforms.square import SquareTransform


class QFormerBackbone(LanguageModelBackbone):
    """The part of a `GenerationBackbone` that does not depend on when the Q-Former runs.

    Args:
        model: a `Blip2ForConditionalGeneration` or `InstructBlipForConditionalGeneration` in evaluation mode.
        tokenizer: of its language model.
        transform: the size and the normalisation of its images.
        device: of its vision encoder.
    """

    answers = captions = pads = True

    def __init__(self, model: Any, tokenizer: Any, transform: SquareTransform, device: torch.device) -> None:
        self.device = device
        self.tokenizer = tokenizer
        self.vision: Any = model.vision_model
        self.image_tokens: int = model.config.num_query_tokens
        self.image_token: int | None = model.config.image_token_index
        self.prompt_limit = context_limit(model.config.text_config, tokenizer) - self.image_tokens
        self.language_model = language_model_adapter(model.language_model, tokenizer)
        self.eos_token_ids = self.language_model.eos_token_ids
        self._model = model
        self._pixels = Normalizer(transform, device, next(model.vision_model.parameters()).dtype)

    def see(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → the vision encoder's output (B, patches + 1, D)."""
        seen: Tensor = self.vision(pixel_values=self._pixels(pixels)).last_hidden_state
        return seen

    def project(self, queries: Tensor) -> Tensor:
        """Return the Q-Former's output (R, image_tokens, D) → embeddings of the language model."""
        projection = self._model.language_projection
        features: Tensor = projection(queries.to(projection.weight.dtype))
        return features

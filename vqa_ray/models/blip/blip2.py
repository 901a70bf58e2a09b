"""BLIP-2 with OPT or Flan-T5: frozen image features in front of a language model (Li et al. 2023, arXiv:2301.12597)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.blip.engine import GenerativeEngine
from vqa_ray.models.blip.tokenizer import context_limit, load_tokenizer
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.spread import load_or_spread
from vqa_ray.models.generation.decoding import Decoding
from vqa_ray.models.generation.language_model import Shared, language_model_adapter
from vqa_ray.models.generation.prompt_budget import Prompt
from vqa_ray.models.generation.prompts import Prompting
from vqa_ray.models.layers.normalizer import Normalizer
from vqa_ray.models.transforms.square import SquareTransform


class Blip2(GenerativeEngine):
    """A loaded `Blip2ForConditionalGeneration`.

    Vision and Q-Former run once per image however many questions it brings. With a decoder-only language model (OPT)
    its reading of the image is shared too; T5's encoder reads image and question together, so there only the features
    are.
    """

    prompting = Prompting()

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> Any:
        """See `GenerativeEngine.load_backbone`. `float16` is taken for OPT on CUDA; its Q-Former then stays in float32.

        Raises:
            ModelLoadError: see `load_or_spread` and `load_tokenizer`.
        """
        from transformers import Blip2ForConditionalGeneration

        model, where, transform = load_or_spread(Blip2ForConditionalGeneration, checkpoint, device=device, dtype=dtype)
        tokenizer = load_tokenizer(checkpoint.directory, model.config.image_token_index)
        return Blip2Backbone(model, tokenizer, transform, where)


class Blip2Backbone:
    """See `GenerationBackbone`.

    Args:
        model: a `Blip2ForConditionalGeneration` in evaluation mode.
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

    def tokenize(self, text: str) -> Sequence[int]:
        """See `GenerationBackbone.tokenize`."""
        return self.language_model.tokenize(text)

    def choice_tokens(self, choice: str) -> tuple[int, ...]:
        """See `GenerationBackbone.choice_tokens`."""
        return self.language_model.choice_tokens(choice)

    def encode(self, pixels: Tensor) -> Shared:
        """See `GenerationBackbone.encode`."""
        return self.language_model.share(self.features(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → what the language model sees of each image, (B, image_tokens, D)."""
        seen = self.vision(pixel_values=self._pixels(pixels)).last_hidden_state
        queries = self._model.query_tokens.expand(len(seen), -1, -1)
        # In float16 the Q-Former stays in float32, and transformers loads it so.
        found = self._model.qformer(
            query_embeds=queries, encoder_hidden_states=seen.to(queries.dtype)
        ).last_hidden_state
        projection = self._model.language_projection
        features: Tensor = projection(found.to(projection.weight.dtype))
        if features.shape[:2] != (len(pixels), self.image_tokens):
            raise AssertionError(
                f"{len(pixels)} images gave features of shape {tuple(features.shape)}, wanted {self.image_tokens} each"
            )
        return features

    def prefill(self, encoded: Shared, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> Decoding:
        """See `GenerationBackbone.prefill`."""
        return self.language_model.prefill(encoded, images, prompts, extra_tokens)

    def beams(
        self, encoded: Shared, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """See `GenerationBackbone.beams`."""
        return self.language_model.beams(encoded, images, prompts, count, options)

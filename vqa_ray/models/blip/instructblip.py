"""InstructBLIP: BLIP-2 whose Q-Former reads the question too (Dai et al. 2023, arXiv:2305.06500)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.blip.qformer import QFormerBackbone
from vqa_ray.models.blip.tokenizer import load_tokenizer
from vqa_ray.models.checkpoint.completeness import QFORMER_TOKENIZER
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.spread import load_or_spread
from vqa_ray.models.checkpoint.weights import load_text_tokenizer
from vqa_ray.models.generation.decoding import Decoding
from vqa_ray.models.generation.engine import GenerativeEngine
from vqa_ray.models.generation.kv_cache import pad
from vqa_ray.models.generation.prompt_budget import Prompt
from vqa_ray.models.generation.prompts import Prompting
from vqa_ray.models.transforms.square import SquareTransform


class InstructBlip(GenerativeEngine):
    """A loaded `InstructBlipForConditionalGeneration`, with Vicuna or Flan-T5.

    Only the vision encoder runs once per image: what the Q-Former makes of it depends on the question.
    """

    prompting = Prompting("{}")

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> Any:
        """See `GenerativeEngine.load_backbone`. `float16` is taken on CUDA, but not for T5.

        Raises:
            ModelLoadError: see `load_or_spread` and `load_tokenizer`.
        """
        from transformers import InstructBlipForConditionalGeneration

        model, where, transform = load_or_spread(
            InstructBlipForConditionalGeneration, checkpoint, device=device, dtype=dtype
        )
        tokenizer = load_tokenizer(checkpoint.directory, model.config.image_token_index)
        qformer_tokenizer = load_text_tokenizer(checkpoint.directory / QFORMER_TOKENIZER)
        return InstructBlipBackbone(model, tokenizer, qformer_tokenizer, transform, where)


class InstructBlipBackbone(QFormerBackbone):
    """See `GenerationBackbone`: the Q-Former reads an image anew for each prompt."""

    def __init__(
        self, model: Any, tokenizer: Any, qformer_tokenizer: Any, transform: SquareTransform, device: torch.device
    ) -> None:
        super().__init__(model, tokenizer, transform, device)
        self._qformer_tokenizer = qformer_tokenizer
        self._question_limit: int = model.config.qformer_config.max_position_embeddings

    def encode(self, pixels: Tensor) -> Tensor:
        """See `GenerationBackbone.encode`: the vision encoder's output (B, patches + 1, D)."""
        return self.see(pixels)

    def prefill(self, encoded: Tensor, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> Decoding:
        """See `GenerationBackbone.prefill`."""
        shared = self.language_model.share(self._features(encoded, images, prompts))
        return self.language_model.prefill(
            shared, torch.arange(len(prompts), device=self.device), prompts, extra_tokens
        )

    def beams(
        self, encoded: Tensor, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """See `GenerationBackbone.beams`."""
        shared = self.language_model.share(self._features(encoded, images, prompts))
        return self.language_model.beams(
            shared, torch.arange(len(prompts), device=self.device), prompts, count, options
        )

    def _features(self, encoded: Tensor, images: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Return the image features of each prompt for the language model, (R, image_tokens, D)."""
        texts = [
            self._qformer_tokenizer(prompt.text, truncation=True, max_length=self._question_limit)["input_ids"]
            for prompt in prompts
        ]
        ids, mask = pad(texts, left=False, device=self.device)
        if mask is not None:
            mask = torch.cat([mask.new_ones(len(mask), self.image_tokens), mask], dim=1)
        queries = self._model.query_tokens.to(encoded.dtype)
        found = self._model.qformer(
            input_ids=ids,
            attention_mask=mask,
            query_embeds=queries.expand(len(ids), -1, -1),
            encoder_hidden_states=encoded[images],
        ).last_hidden_state[:, : self.image_tokens]
        return self.project(found)

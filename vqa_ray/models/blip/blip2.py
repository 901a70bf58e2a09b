"""BLIP-2 with OPT or Flan-T5: frozen image features in front of a language model (Li et al. 2023, arXiv:2301.12597)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vqa_ray.models.blip.qformer import QFormerBackbone
from vqa_ray.models.blip.tokenizer import load_tokenizer
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.spread import load_or_spread
from vqa_ray.models.generation.engine import GenerativeEngine
from vqa_ray.models.generation.language_model import Shared
from vqa_ray.models.generation.prompts import Prompting


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


class Blip2Backbone(QFormerBackbone):
    """See `GenerationBackbone`: the Q-Former reads an image once for all of its prompts."""

    def encode(self, pixels: Tensor) -> Shared:
        """See `GenerationBackbone.encode`."""
        return self.language_model.share(self.features(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → what the language model sees of each image, (B, image_tokens, D)."""
        seen = self.see(pixels)
        queries = self._model.query_tokens.expand(len(seen), -1, -1)
        # In float16 the Q-Former stays in float32, and transformers loads it so.
        features = self.project(
            self._model.qformer(query_embeds=queries, encoder_hidden_states=seen.to(queries.dtype)).last_hidden_state
        )
        if features.shape[:2] != (len(pixels), self.image_tokens):
            raise AssertionError(
                f"{len(pixels)} images gave features of shape {tuple(features.shape)}, wanted {self.image_tokens} each"
            )
        return features

"""BLIP: question answering and captions by a text decoder of its own (Li et al. 2022, arXiv:2201.12086)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import EncoderDecoderCache

from vqa_ray.models.blip.tokenizer import context_limit, load_tokenizer
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.spread import load_or_spread
from vqa_ray.models.generation.choices import opening_tokens
from vqa_ray.models.generation.cross_attention import CrossDecoding
from vqa_ray.models.generation.engine import GenerativeEngine
from vqa_ray.models.generation.kv_cache import pad
from vqa_ray.models.generation.language_model import in_groups
from vqa_ray.models.generation.prompt_budget import Prompt
from vqa_ray.models.generation.prompts import Prompting
from vqa_ray.models.layers.normalizer import Normalizer
from vqa_ray.models.transforms.square import SquareTransform

ANSWERING, CAPTIONING = "BlipForQuestionAnswering", "BlipForConditionalGeneration"


class Blip(GenerativeEngine):
    """A loaded `BlipForQuestionAnswering`, which answers, or `BlipForConditionalGeneration`, which describes.

    The vision encoder runs once per image; its text encoder reads image and question together.
    """

    prompting = Prompting("{}")

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> Any:
        """See `GenerativeEngine.load_backbone`.

        Raises:
            ModelLoadError: see `load_or_spread` and `load_tokenizer`.
        """
        import transformers

        kind = checkpoint.family.architecture
        model, where, transform = load_or_spread(getattr(transformers, kind), checkpoint, device=device, dtype=dtype)
        tokenizer = load_tokenizer(checkpoint.directory, None)
        return (BlipQuestions if kind == ANSWERING else BlipCaptioning)(model, tokenizer, transform, where)


class _BlipBackbone:
    """The common part of both architectures; see `GenerationBackbone`.

    Args:
        model: in evaluation mode.
        tokenizer: of its text encoder and decoder.
        transform: the size and the normalisation of its images.
        device: of its vision encoder.
    """

    image_token: int | None = None
    # Stock `BlipTextAttention` drops the mask of its cross-attention, so the decoder would attend to padding.
    pads = False

    def __init__(self, model: Any, tokenizer: Any, transform: SquareTransform, device: torch.device) -> None:
        text, vision = model.config.text_config, model.config.vision_config
        self.device = device
        self.tokenizer = tokenizer
        self.vision: Any = model.vision_model
        self.image_tokens: int = (vision.image_size // vision.patch_size) ** 2 + 1
        self.eos_token_ids: tuple[int, ...] = (text.sep_token_id,)
        self.prompt_limit = context_limit(text, tokenizer)
        self._model = model
        self._text = text
        self._pixels = Normalizer(transform, device, next(model.vision_model.parameters()).dtype)

    def tokenize(self, text: str) -> Sequence[int]:
        """See `GenerationBackbone.tokenize`."""
        return tuple(self.tokenizer(text, verbose=False)["input_ids"])

    def choice_tokens(self, choice: str) -> tuple[int, ...]:
        """See `GenerationBackbone.choice_tokens`."""
        return opening_tokens(lambda text: self.tokenizer(text, add_special_tokens=False)["input_ids"], choice)

    def encode(self, pixels: Tensor) -> Tensor:
        """See `GenerationBackbone.encode`: the vision encoder's output (B, patches + 1, D)."""
        seen: Tensor = self.vision(pixel_values=self._pixels(pixels)).last_hidden_state
        return seen

    def _ids(self, prompts: Sequence[Prompt]) -> Tensor:
        ids, mask = pad([prompt.ids for prompt in prompts], left=True, device=self.device)
        if mask is not None:
            raise AssertionError("prompts of different lengths in one pass of a model that cannot mask padding")
        return ids

    def _decode(self, tokens: Tensor, encoded: Tensor, mask: Tensor | None, cache: EncoderDecoderCache) -> Tensor:
        logits: Tensor = self._model.text_decoder(
            input_ids=tokens,
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits

    def _generate(self, tokens: Tensor, encoded: Tensor, count: int, options: dict[str, Any]) -> list[list[list[int]]]:
        found = self._model.text_decoder.generate(
            input_ids=tokens,
            eos_token_id=self._text.sep_token_id,
            pad_token_id=self._text.pad_token_id,
            encoder_hidden_states=encoded,
            **options,
        )
        return in_groups(found[:, tokens.shape[1] :], count)


class BlipQuestions(_BlipBackbone):
    """`BlipForQuestionAnswering`: image → encoder of the question → decoder of the answer."""

    answers, captions = True, False

    def prefill(self, encoded: Tensor, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> CrossDecoding:
        """See `GenerationBackbone.prefill`."""
        return CrossDecoding.prefill(
            self._decode, self._read(encoded, images, prompts), None, self._start(len(prompts))
        )

    def beams(
        self, encoded: Tensor, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """See `GenerationBackbone.beams`."""
        return self._generate(self._start(len(prompts)), self._read(encoded, images, prompts), count, options)

    def _read(self, encoded: Tensor, images: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Questions read with their images, (R, L, D)."""
        read: Tensor = self._model.text_encoder(
            input_ids=self._ids(prompts), encoder_hidden_states=encoded[images]
        ).last_hidden_state
        return read

    def _start(self, rows: int) -> Tensor:
        return torch.full((rows, 1), self._text.bos_token_id, dtype=torch.long, device=self.device)


class BlipCaptioning(_BlipBackbone):
    """`BlipForConditionalGeneration`: image → decoder that continues bos and the prompt."""

    answers, captions = False, True

    def tokenize(self, text: str) -> Sequence[int]:
        """See `GenerationBackbone.tokenize`: bos in the place of the opening token, and no closing one."""
        inner = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return (self._text.bos_token_id, *inner)

    def prefill(self, encoded: Tensor, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> CrossDecoding:
        """See `GenerationBackbone.prefill`."""
        return CrossDecoding.prefill(self._decode, encoded[images], None, self._ids(prompts))

    def beams(
        self, encoded: Tensor, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """See `GenerationBackbone.beams`."""
        return self._generate(self._ids(prompts), encoded[images], count, options)

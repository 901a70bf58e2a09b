"""Adapters of language models that read image features with a prompt behind them: decoder-only, and T5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from vqa_ray.models.generation.causal import CausalDecoding, JoinedDecoding
from vqa_ray.models.generation.choices import continuation_tokens, opening_tokens
from vqa_ray.models.generation.cross_attention import CrossDecoding
from vqa_ray.models.generation.decoding import Decoding
from vqa_ray.models.generation.kv_cache import Prefix, pad, preallocated_cache, prefix_of
from vqa_ray.models.generation.prompt_budget import Prompt
from vqa_ray.models.layers.device import send_indices
from vqa_ray.models.layers.microbatch import cut_by_length

# What a pass through the language model costs by itself, in tokens: reading the weights, starting the kernels.
_PASS_TOKENS = {"cpu": 48, "cuda": 512}


class Shared(NamedTuple):
    """State that all prompts about an image share.

    Attributes:
        features: (B, image tokens, D) embeddings.
        prefix: a decoder-only model's keys and values of them; empty for others.
    """

    features: Tensor
    prefix: Prefix = ()


class LanguageModelAdapter(Protocol):
    """A language model that images stand in front of."""

    eos_token_ids: tuple[int, ...]
    device: torch.device

    def tokenize(self, text: str) -> Sequence[int]:
        """See `GenerationBackbone.tokenize`."""
        ...

    def choice_tokens(self, choice: str) -> tuple[int, ...]:
        """See `GenerationBackbone.choice_tokens`."""
        ...

    def share(self, features: Tensor) -> Shared:
        """Read the features (B, image tokens, D) of B images as far as that does not depend on a prompt."""
        ...

    def prefill(self, shared: Shared, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> Decoding:
        """See `GenerationBackbone.prefill`."""
        ...

    def beams(
        self, shared: Shared, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """See `GenerationBackbone.beams`."""
        ...


class LanguageModelBackbone:
    """The half of a `GenerationBackbone` that a language model does, for images encoded as `Shared`."""

    language_model: LanguageModelAdapter

    def tokenize(self, text: str) -> Sequence[int]:
        """See `GenerationBackbone.tokenize`."""
        return self.language_model.tokenize(text)

    def choice_tokens(self, choice: str) -> tuple[int, ...]:
        """See `GenerationBackbone.choice_tokens`."""
        return self.language_model.choice_tokens(choice)

    def prefill(self, encoded: Any, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> Decoding:
        """See `GenerationBackbone.prefill`."""
        return self.language_model.prefill(encoded, images, prompts, extra_tokens)

    def beams(
        self, encoded: Any, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """See `GenerationBackbone.beams`."""
        return self.language_model.beams(encoded, images, prompts, count, options)


def language_model_adapter(language_model: Any, tokenizer: Any) -> LanguageModelAdapter:
    """Make the adapter of a transformers language model."""
    kind = Seq2SeqAdapter if language_model.config.is_encoder_decoder else CausalAdapter
    return kind(language_model, tokenizer)


class CausalAdapter:
    """Decoder-only: what is read of an image holds for every prompt about it.

    Padding stands between image and prompt, whatever the tokenizer's own padding side: behind the prompt it would be
    continued as if it were text.
    """

    def __init__(self, language_model: Any, tokenizer: Any) -> None:
        self.eos_token_ids = as_token_ids(language_model.generation_config.eos_token_id)
        self._embed = language_model.get_input_embeddings()
        self.device: torch.device = self._embed.weight.device
        self._model = language_model
        self._tokenizer = tokenizer
        self._bos: int | None = language_model.config.bos_token_id

    def tokenize(self, text: str) -> Sequence[int]:
        """See `GenerationBackbone.tokenize`; without text a caption begins with bos, as in transformers' `generate`."""
        if not text and self._bos is not None:
            return (self._bos,)
        return tuple(self._tokenizer(text, verbose=False)["input_ids"])

    def choice_tokens(self, choice: str) -> tuple[int, ...]:
        """See `GenerationBackbone.choice_tokens`."""
        return continuation_tokens(lambda text: self._tokenizer(text, add_special_tokens=False)["input_ids"], choice)

    def share(self, features: Tensor) -> Shared:
        """See `LanguageModelAdapter.share`."""
        features = features.to(self.device)
        cache = DynamicCache()
        self._model(inputs_embeds=features, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return Shared(features, prefix_of(cache))

    def prefill(self, shared: Shared, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> Decoding:
        """See `GenerationBackbone.prefill`."""
        overhead = _PASS_TOKENS.get(self.device.type, _PASS_TOKENS["cpu"])
        groups = cut_by_length([len(prompt.ids) for prompt in prompts], overhead)
        if len(groups) == 1:
            return self._read(shared, images, prompts, extra_tokens)
        places = [send_indices(group, self.device) for group in groups]
        parts = [
            self._read(shared, images[place.to(images.device)], [prompts[row] for row in group], 0)
            for group, place in zip(groups, places, strict=True)
        ]
        return JoinedDecoding(parts, places, extra_tokens)

    def _read(self, shared: Shared, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> CausalDecoding:
        ids, mask = pad([prompt.ids for prompt in prompts], left=True, device=self.device)
        cache = preallocated_cache(shared.prefix, images, ids.shape[1] + extra_tokens)
        return CausalDecoding.prefill(self._model, self._embed(ids), _behind(shared.features, mask), cache)

    def beams(
        self, shared: Shared, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """See `GenerationBackbone.beams`."""
        ids, mask = pad([prompt.ids for prompt in prompts], left=True, device=self.device)
        return in_groups(
            _generate(self._model, shared.features[images.to(self.device)], self._embed(ids), mask, options), count
        )


class Seq2SeqAdapter:
    """Encoder and decoder (T5): the encoder reads image and prompt together, so only the features are shared."""

    def __init__(self, language_model: Any, tokenizer: Any) -> None:
        self.eos_token_ids = as_token_ids(language_model.generation_config.eos_token_id)
        self._embed = language_model.get_input_embeddings()
        self.device: torch.device = self._embed.weight.device
        self._model = language_model
        self._tokenizer = tokenizer
        config = getattr(language_model.config, "text_config", None) or language_model.config
        self.opening = decoder_opening(config, language_model.generation_config)

    def tokenize(self, text: str) -> Sequence[int]:
        """See `GenerationBackbone.tokenize`; T5 has no bos token: a caption without text begins with eos."""
        return tuple(self._tokenizer(text, verbose=False)["input_ids"]) or self.eos_token_ids[:1]

    def choice_tokens(self, choice: str) -> tuple[int, ...]:
        """See `GenerationBackbone.choice_tokens`."""
        return opening_tokens(lambda text: self._tokenizer(text, add_special_tokens=False)["input_ids"], choice)

    def share(self, features: Tensor) -> Shared:
        """See `LanguageModelAdapter.share`."""
        return Shared(features.to(self.device))

    def prefill(self, shared: Shared, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> CrossDecoding:
        """See `GenerationBackbone.prefill`."""
        encoded, mask = self._encode(shared, images, prompts)
        opening = send_indices([self.opening] * len(prompts), self.device)
        return CrossDecoding.prefill(self._decode, encoded, mask, opening)

    def beams(
        self, shared: Shared, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """See `GenerationBackbone.beams`."""
        encoded, mask = self._encode(shared, images, prompts)
        if mask is None:
            mask = torch.ones(encoded.shape[:2], dtype=torch.long, device=self.device)
        given = {"encoder_outputs": BaseModelOutput(last_hidden_state=encoded), "attention_mask": mask}
        # A token that the model has to write first counts as new there.
        length = options["max_new_tokens"] + len(self.opening) - 1
        written = self._model.generate(**given, **{**options, "max_new_tokens": length})
        return in_groups(written[:, len(self.opening) :], count)

    def _encode(self, shared: Shared, images: Tensor, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor | None]:
        """Read images and prompts together: (R, L, D), and the mask of its padding."""
        ids, mask = pad([prompt.ids for prompt in prompts], left=False, device=self.device)
        mask = _behind(shared.features, mask)
        embeddings = torch.cat([shared.features[images.to(self.device)], self._embed(ids)], dim=1)
        return self._model.get_encoder()(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state, mask

    def _decode(self, tokens: Tensor, encoded: Tensor, mask: Tensor | None, cache: EncoderDecoderCache) -> Tensor:
        logits: Tensor = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=mask,
            decoder_input_ids=tokens,
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits


def decoder_opening(config: Any, defaults: Any) -> tuple[int, ...]:
    """Return the tokens that a decoder begins with: its start, and the one that it has to write next, if any.

    Args:
        config: of the language model.
        defaults: its generation config.
    """
    start = config.decoder_start_token_id
    forced = defaults.forced_bos_token_id
    return (start,) if forced is None else (start, forced)


def as_token_ids(given: int | list[int] | None) -> tuple[int, ...]:
    """Return the ids that end a text, as a generation config holds them."""
    return tuple(given) if isinstance(given, list) else () if given is None else (given,)


def in_groups(found: Tensor, count: int) -> list[list[list[int]]]:
    """(R · count, L) → for each of R rows its `count` sequences."""
    return [found[start : start + count].tolist() for start in range(0, len(found), count)]


def _behind(features: Tensor, mask: Tensor | None) -> Tensor | None:
    """Put the tokens of an image before a mask of prompts (R, L)."""
    return None if mask is None else torch.cat([mask.new_ones(len(mask), features.shape[1]), mask], dim=1)


def _generate(model: Any, rows: Tensor, embeddings: Tensor, mask: Tensor | None, options: dict[str, Any]) -> Tensor:
    """Search by transformers, after images (R, image tokens, D) and prompts (R, L, D)."""
    whole = torch.cat([rows, embeddings], dim=1)
    if mask is None:
        mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
    found: Tensor = model.generate(inputs_embeds=whole, attention_mask=_behind(rows, mask), **options)
    return found

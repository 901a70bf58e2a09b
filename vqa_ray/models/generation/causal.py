"""Rows continued by a decoder-only language model (OPT, Llama)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from vqa_ray.models.generation.kv_cache import join_caches, select_rows


class CausalDecoding:
    """See `Decoding`.

    Args:
        language_model: a transformers `…ForCausalLM`.
        cache: of R rows; grows with every `decode`.
        mask: (R, tokens in the cache), 1 for a token, 0 for padding; None where there is none.
        logits: (R, V).
    """

    def __init__(self, language_model: Any, cache: DynamicCache, mask: Tensor | None, logits: Tensor) -> None:
        self.logits = logits
        self._model = language_model
        self._cache = cache
        self._mask = mask

    @classmethod
    def prefill(
        cls, language_model: Any, embeddings: Tensor, mask: Tensor | None, cache: DynamicCache
    ) -> CausalDecoding:
        """Read the beginning of the rows.

        Args:
            language_model: that reads them.
            cache: keys and values of the tokens before them.
            embeddings: (R, N, D) of the tokens behind those in the cache.
            mask: (R, tokens in the cache + N), padding only before the row's last tokens; None where there is none.
        """
        decoding = cls(language_model, cache, mask, embeddings.new_empty(0))
        positions = decoding._positions(embeddings.shape[0], embeddings.shape[1], embeddings.device)
        decoding.logits = decoding._forward(positions, inputs_embeds=embeddings, logits_to_keep=1)[:, -1]
        return decoding

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Decoding.decode`."""
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(tokens.shape)], dim=1)
        return self._forward(self._positions(tokens.shape[0], tokens.shape[1], tokens.device), input_ids=tokens)

    def select(self, rows: Tensor) -> CausalDecoding:
        """See `Decoding.select`."""
        mask = None if self._mask is None else self._mask[rows]
        return CausalDecoding(self._model, select_rows(self._cache, rows), mask, self.logits[rows])

    def join(self, others: Sequence[CausalDecoding], places: Sequence[Tensor], extra_tokens: int) -> CausalDecoding:
        """One decoding of the rows of this one and others, which may have read different numbers of tokens.

        Args:
            others: of the same language model.
            places: of each, this one first, where its rows stand in the joined one.
            extra_tokens: number of tokens that will follow each prompt; memory is set aside for them.
        """
        parts = (self, *others)
        length = max(part._cache.get_seq_length() for part in parts)
        rows = sum(map(len, places))
        mask = torch.zeros(rows, length, dtype=torch.long, device=places[0].device)
        logits = self.logits.new_empty(rows, self.logits.shape[-1])
        for part, place in zip(parts, places, strict=True):
            tokens = part._cache.get_seq_length()
            mask[place, length - tokens :] = 1 if part._mask is None else part._mask
            logits[place] = part.logits
        return CausalDecoding(
            self._model, join_caches([part._cache for part in parts], places, extra_tokens), mask, logits
        )

    def _forward(self, positions: Tensor, **given: Any) -> Tensor:
        output: Tensor = self._model(
            attention_mask=self._mask, position_ids=positions, past_key_values=self._cache, use_cache=True, **given
        ).logits
        return output

    def _positions(self, rows: int, tokens: int, device: torch.device) -> Tensor:
        """(R, N): a token's place among the tokens of its row, padding not counted."""
        if self._mask is None:
            start = self._cache.get_seq_length()
            return torch.arange(start, start + tokens, device=device).expand(rows, -1)
        return (self._mask.cumsum(dim=1) - 1)[:, -tokens:]


class JoinedDecoding:
    """Rows that were read in parts, so that little was padded; they are joined once something is to be fed to them.

    Args:
        parts: at least one.
        places: of each, where its rows stand among all.
        extra_tokens: number of tokens that will follow each prompt; memory is set aside for them.
    """

    def __init__(self, parts: Sequence[CausalDecoding], places: Sequence[Tensor], extra_tokens: int) -> None:
        self.logits = torch.cat([part.logits for part in parts])
        self.logits[torch.cat(list(places))] = self.logits.clone()
        self._parts = parts
        self._places = places
        self._extra_tokens = extra_tokens
        self._whole: CausalDecoding | None = None

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Decoding.decode`."""
        return self._joined().decode(tokens)

    def select(self, rows: Tensor) -> CausalDecoding:
        """See `Decoding.select`."""
        return self._joined().select(rows)

    def _joined(self) -> CausalDecoding:
        if self._whole is None:
            first, *others = self._parts
            self._whole = first.join(others, self._places, self._extra_tokens)
            self._parts = ()
        return self._whole

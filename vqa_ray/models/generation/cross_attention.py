"""Rows continued by a decoder that attends to something encoded (T5, BLIP)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from vqa_ray.models.generation.kv_cache import select_rows

Decoder = Callable[[Tensor, Tensor, Tensor | None, EncoderDecoderCache], Tensor]
"""(tokens (R, N), encoded (R, L, D), mask (R, L) or None, cache) → logits (R, N, V)."""


class CrossDecoding:
    """See `Decoding`.

    Args:
        decoder: runs the language model.
        encoded: (R, L, D).
        mask: (R, L), 1 for a token, 0 for padding; None where there is none.
        cache: what the decoder has read of R rows.
        logits: (R, V).
    """

    def __init__(
        self, decoder: Decoder, encoded: Tensor, mask: Tensor | None, cache: EncoderDecoderCache, logits: Tensor
    ) -> None:
        self.logits = logits
        self._decoder = decoder
        self._encoded = encoded
        self._mask = mask
        self._cache = cache

    @classmethod
    def prefill(cls, decoder: Decoder, encoded: Tensor, mask: Tensor | None, tokens: Tensor) -> CrossDecoding:
        """Read the beginning of the rows: tokens (R, N), without padding."""
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return cls(decoder, encoded, mask, cache, decoder(tokens, encoded, mask, cache)[:, -1])

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Decoding.decode`."""
        return self._decoder(tokens, self._encoded, self._mask, self._cache)

    def select(self, rows: Tensor) -> CrossDecoding:
        """See `Decoding.select`."""
        cache = EncoderDecoderCache(
            select_rows(self._cache.self_attention_cache, rows), select_rows(self._cache.cross_attention_cache, rows)
        )
        mask = None if self._mask is None else self._mask[rows]
        return CrossDecoding(self._decoder, self._encoded[rows], mask, cache, self.logits[rows])

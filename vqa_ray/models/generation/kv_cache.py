"""Keys and values of attention that grow in place, and that rows can share the beginning of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from vqa_ray.models.layers.device import send

# Of each layer: keys and values, (rows, heads, tokens, D).
Prefix = Sequence[tuple[Tensor, Tensor]]


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, with room for the tokens to come.

    A stock layer copies all that it holds for every token that is generated; this one writes the new ones behind.

    Args:
        keys, values: (R, heads, tokens and room for more, D).
        tokens: how many there are at first.
    """

    def __init__(self, keys: Tensor, values: Tensor, tokens: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._buffers = (keys, values)
        self._show(tokens)

    @classmethod
    def start(cls, keys: Tensor, values: Tensor, rows: Tensor, extra_tokens: int) -> PreallocatedLayer:
        """Make a layer whose rows (R,) copy some of keys and values (B, heads, tokens, D), with room for more."""
        rows = rows.to(keys.device)
        return cls(
            _with_extra_tokens(keys, rows, extra_tokens), _with_extra_tokens(values, rows, extra_tokens), keys.shape[-2]
        )

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add tokens; all that there are now."""
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        self._show(end)
        return self.keys, self.values

    def select(self, rows: Tensor) -> PreallocatedLayer:
        """Copy some of the rows, in any order, repeated or not, with the room that is left."""
        return PreallocatedLayer.start(self.keys, self.values, rows, self._buffers[0].shape[-2] - self.keys.shape[-2])

    def _show(self, tokens: int) -> None:
        self.keys, self.values = (buffer[:, :, :tokens] for buffer in self._buffers)


def preallocated_cache(prefix: Prefix, rows: Tensor, extra_tokens: int) -> DynamicCache:
    """Make a cache whose rows (R,) copy some of `prefix`, with room for more tokens."""
    cache = DynamicCache()
    cache.layers = [PreallocatedLayer.start(keys, values, rows, extra_tokens) for keys, values in prefix]
    return cache


def select_rows(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    """Copy some rows of a cache, preallocated or stock."""
    if all(isinstance(layer, PreallocatedLayer) for layer in cache.layers):
        copy = DynamicCache()
        copy.layers = [layer.select(rows) for layer in cache.layers]
        return copy
    return DynamicCache(
        [(layer.keys[rows.to(layer.keys.device)], layer.values[rows.to(layer.values.device)]) for layer in cache.layers]
    )


def join_caches(caches: Sequence[DynamicCache], places: Sequence[Tensor], extra_tokens: int) -> DynamicCache:
    """One cache of the rows of several; a shorter one's tokens stand at the end, behind zeros.

    Args:
        caches: each of some rows.
        places: of each, where its rows stand in the joined one; together 0 … R − 1.
        extra_tokens: number of tokens that will follow each prompt; memory is set aside for them.
    """
    held = [prefix_of(cache) for cache in caches]
    joined = DynamicCache()
    joined.layers = [
        PreallocatedLayer(
            _joined([keys for keys, _ in layer], places, extra_tokens),
            _joined([values for _, values in layer], places, extra_tokens),
            max(keys.shape[-2] for keys, _ in layer),
        )
        for layer in zip(*held, strict=True)
    ]
    return joined


def prefix_of(cache: DynamicCache) -> Prefix:
    """Return the keys and values of a cache."""
    return [(layer.keys, layer.values) for layer in cache.layers]


def _joined(tensors: Sequence[Tensor], places: Sequence[Tensor], extra_tokens: int) -> Tensor:
    _, heads, _, width = tensors[0].shape
    tokens = max(tensor.shape[-2] for tensor in tensors)
    buffer = tensors[0].new_zeros((sum(map(len, places)), heads, tokens + extra_tokens, width))
    for tensor, rows in zip(tensors, places, strict=True):
        buffer[rows.to(buffer.device), :, tokens - tensor.shape[-2] : tokens] = tensor
    return buffer


def _with_extra_tokens(tensor: Tensor, rows: Tensor, extra_tokens: int) -> Tensor:
    _, heads, tokens, width = tensor.shape
    buffer = tensor.new_empty((len(rows), heads, tokens + extra_tokens, width))
    buffer[:, :, :tokens] = tensor.index_select(0, rows)
    return buffer


def pad(sequences: Sequence[Sequence[int]], *, left: bool, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return what `padded` does, on a device."""
    ids, mask = padded(sequences, left=left)
    return send(ids, device), None if mask is None else send(mask, device)


def padded(sequences: Sequence[Sequence[int]], *, left: bool) -> tuple[Tensor, Tensor | None]:
    """Token ids (R, L) and their mask, int64 with 1 for a token; no mask where all are of one length.

    Args:
        sequences: token ids; a tokenizer's own padding side is not asked.
        left: whether padding comes before the tokens, as generation after them needs it.
    """
    width = max(map(len, sequences))
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(sequences):
        columns = slice(width - len(tokens), width) if left else slice(0, len(tokens))
        ids[row, columns] = torch.tensor(tokens, dtype=torch.long)
        mask[row, columns] = 1
    return ids, mask if any(len(tokens) < width for tokens in sequences) else None

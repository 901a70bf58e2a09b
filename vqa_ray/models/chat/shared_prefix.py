"""A chat model that reads each image once: the part of a prompt up to the image is shared by all its questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from vqa_ray.models.chat.batching import Prompt, collate, positions
from vqa_ray.models.chat.host_arguments import (
    has_image_positions,
    image_positions,
    send_inputs,
    vision_arguments,
)
from vqa_ray.models.chat.processor import Encoded
from vqa_ray.models.generation.kv_cache import padded, preallocated_cache, prefix_of, select_rows
from vqa_ray.models.layers.device import send, send_indices


class ChatDecoding:
    """Rows of prompts that were read, to be continued; see `decoding.Decoding`.

    Args:
        model: `*ForConditionalGeneration`.
        cache: keys and values of the R rows.
        mask: int64 (R, L), 1 where the cache holds a token of the row; None where it holds nothing else.
        position: int64 (R,), of the next token.
        logits: (R, V), of the next token.
    """

    def __init__(
        self, model: Any, cache: DynamicCache, mask: Tensor | None, position: Tensor, *, logits: Tensor
    ) -> None:
        self.logits = logits
        self._model = model
        self._cache = cache
        self._mask = mask
        self._position = position

    def decode(self, tokens: Tensor) -> Tensor:
        """Append tokens (R, N), and return the logits (R, N, V) after each."""
        count = tokens.shape[1]
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), count)], dim=1)
        places = self._position[:, None] + torch.arange(count, device=tokens.device)
        logits = _forward(self._model, tokens, self._mask, places, self._cache, keep=0)
        self._position = self._position + count
        return logits

    def select(self, rows: Tensor) -> ChatDecoding:
        """Copy some rows (K,), in any order, repeated or not."""
        mask = None if self._mask is None else self._mask[rows]
        return ChatDecoding(
            self._model, select_rows(self._cache, rows), mask, self._position[rows], logits=self.logits[rows]
        )


def read(model: Any, prompts: Sequence[Prompt], extra_tokens: int) -> ChatDecoding:
    """Read prompts of one layout; what several of them share is read once.

    Positions and masks are made on the host, which knows all lengths, so that nothing waits for the device.

    Args:
        model: one of the families in `families.SHARING_A_PREFIX`, in inference mode.
        prompts: at least one, each with at least one token of its own.
        extra_tokens: number of tokens that will follow each prompt; memory is set aside for them.
    """
    device = model.device
    first: dict[Any, Prompt] = {}
    for prompt in prompts:
        first.setdefault(prompt.shared, prompt)
    heads = list(first.values())
    # A prompt may begin with its image (Fuyu); it ends in text.
    last = [prompt.encoded.ids[-1] for prompt in heads]
    begun: dict[str, Any] = {**collate(list(map(_head, heads)), [prompt.image for prompt in heads], model, last)}
    head_mask = begun["attention_mask"]
    begun["position_ids"], following = _positions_of_heads(model, begun)
    begun["attention_mask"] = _where_padded(head_mask)
    begun |= vision_arguments(model, begun)
    cache = DynamicCache()
    # KOSMOS-2 has no model without its head.
    kept = {"logits_to_keep": 1} if model.base_model is model else {}
    model.base_model(**send_inputs(model, begun), **kept, past_key_values=cache, use_cache=True)

    index_of = {key: number for number, key in enumerate(first)}
    rows = [index_of[prompt.shared] for prompt in prompts]
    ids, mask = padded([prompt.encoded.ids[prompt.split :] for prompt in prompts], left=True)
    mask = torch.ones_like(ids) if mask is None else mask
    full = _where_padded(torch.cat([head_mask[rows], mask], dim=1))
    places = send(following[rows][:, None] + positions(mask), device)
    own = preallocated_cache(prefix_of(cache), send_indices(rows, device), ids.shape[1] + extra_tokens)
    full = None if full is None else send(full, device)
    logits = _forward(model, send(ids, device), full, places, own, keep=1)[:, -1]
    return ChatDecoding(model, own, full, places[:, -1] + 1, logits=logits)


def _head(prompt: Prompt) -> Encoded:
    kinds = {name: values[: prompt.split] for name, values in prompt.encoded.kinds.items()}
    return Encoded(prompt.encoded.ids[: prompt.split], kinds)


def _positions_of_heads(model: Any, begun: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the positions of the tokens of R rows, and the position behind each row (R,)."""
    mask = begun["attention_mask"]
    found = image_positions(model, begun)
    if found is not None:
        # An image takes fewer positions than tokens.
        return found[0], mask.sum(dim=-1) + found[1]
    start = _first_position(model)
    return positions(mask) + start, mask.sum(dim=-1) + start


def _where_padded(mask: Tensor) -> Tensor | None:
    """Return a mask that hides something; None for another, so that attention may take its fast way."""
    return None if bool(mask.all()) else mask


def _forward(model: Any, ids: Tensor, mask: Tensor | None, places: Tensor, cache: DynamicCache, *, keep: int) -> Tensor:
    """Logits (R, N, V) of tokens (R, N) of text; `keep` the last so many, 0 for all."""
    if has_image_positions(model):
        # Of time, height and width; text counts alike in all three.
        places = places[None].expand(3, -1, -1)
    # KOSMOS-2 as a whole wants an image each time.
    reader = model.text_model if model.base_model is model else model
    outputs = reader(
        input_ids=ids,
        attention_mask=mask,
        position_ids=places,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
    )
    logits: Tensor = outputs.logits
    return logits


def _first_position(model: Any) -> int:
    """Position of a row's first token: KOSMOS-2 counts from behind the position of its padding."""
    config = model.config
    return int(config.text_config.pad_token_id) + 1 if config.model_type == "kosmos-2" else 0

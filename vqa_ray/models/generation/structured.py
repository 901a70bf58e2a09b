"""Objects held to a schema while they are written: masks of what may come next, by llguidance."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from vqa_ray.errors import ErrorCode, RequestError, RowError, one_line
from vqa_ray.models.generation.decoding import Decoding
from vqa_ray.models.layers.device import send, send_indices
from vqa_ray.structured.grammar import grammar_of, llguidance
from vqa_ray.types import FinishReason, WrittenObject

# Rows that are done are dropped when the others are less than this share: dropping copies the cache of the others.
_LIVE_SHARE = {"cpu": 1.0, "cuda": 0.5}


class SchemaWriter:
    """Writes objects with a tokenizer.

    Args:
        tokenizer: of transformers, a fast one.
        vocabulary: V, the number of logits.
        eos_token_ids: the ids that end a text.
        label: the model's name in an error, `model DIRECTORY`.

    Raises:
        RequestError: see `byte_tokenizer`.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, eos_token_ids: Sequence[int], label: str) -> None:
        self._tokenizer = byte_tokenizer(tokenizer, vocabulary, eos_token_ids, label)
        self._label = label
        # float32 (256, 8), the lowest bit first: what to add to the logits of the eight tokens of a byte of the mask.
        bits = (torch.arange(256)[:, None] >> torch.arange(8) & 1).bool()
        self._bias_of_byte = torch.where(bits, 0.0, -math.inf)
        package = llguidance()
        # A grammar of thousands of values takes a tenth of a second, and every batch asks for the same.
        self._begun = functools.lru_cache(maxsize=4)(functools.partial(package.LLMatcher, self._tokenizer))
        self._executor = package.LLExecutor(num_threads=max(1, torch.get_num_threads()))

    def write(
        self,
        decoding: Decoding,
        schema: Mapping[str, Any],
        max_new_tokens: int,
        warnings: Sequence[str | None],
        *,
        drops_rows: bool = True,
    ) -> list[WrittenObject]:
        """Continue each row with an object: the likeliest token that the schema allows each time.

        Tokens without an alternative are read together, as many at once as every row has waiting. The mask of the next
        token is made on the host while the device reads.

        Args:
            decoding: used up.
            schema: of the objects.
            max_new_tokens: of an object.
            warnings: of the rows.
            drops_rows: whether rows that are done may be dropped.

        Raises:
            RowError: `model_error` where nothing that the schema allows can be written.
            RequestError: the schema is too complex.
        """
        begun = self._begun(grammar_of(schema))
        if begun.is_error():
            raise RequestError(f"--schema: {self._label}: {one_line(begun.get_error())}")
        rows = [_Row(begun.deep_copy(), max_new_tokens) for _ in warnings]
        for row in rows:
            row.take_forced()
        held, logits = rows, decoding.logits
        device = logits.device
        self._choose(held, logits)
        while going := [place for place, row in enumerate(held) if not row.done]:
            if drops_rows and len(going) < len(held) * _LIVE_SHARE.get(device.type, 1.0):
                decoding = decoding.select(send_indices(going, device))
                held = [held[place] for place in going]
            count = min(len(row.waiting) for row in held if not row.done)
            fed = send_indices([row.feed(count) for row in held], device)
            logits = decoding.decode(fed)[:, -1]
            self._choose(held, logits)
        return [
            written_object(self._tokenizer, row.tokens, row.log_probabilities, row.finish_reason, warning)
            for row, warning in zip(rows, warnings, strict=True)
        ]

    def _choose(self, rows: Sequence[_Row], logits: Tensor) -> None:
        """Choose the next token of each row that has none waiting."""
        places = [place for place, row in enumerate(rows) if not row.done and not row.waiting]
        if not places:
            return
        size = (self._tokenizer.vocab_size + 31) // 32
        bits = torch.zeros(len(places), size, dtype=torch.int32)
        matchers = [(rows[place].matcher, number) for number, place in enumerate(places)]
        self._executor.unsafe_compute_mask_ptr(matchers, bits.data_ptr(), size * 4, len(places))
        asked = logits if len(places) == len(rows) else logits[send_indices(places, logits.device)]
        masked = asked.float() + self._bias(send(bits, logits.device), logits.shape[1])
        # On CPUs, a selection by booleans and a logsumexp over infinities take several times as long.
        best, token = masked.log_softmax(dim=-1).max(dim=-1)
        # One transfer; float32 holds the ids of any vocabulary.
        chosen = torch.stack([token.float(), best]).tolist()
        for place, token_id, log_probability in zip(places, *chosen, strict=True):
            if math.isnan(log_probability):
                raise RowError(ErrorCode.MODEL_ERROR, f"no token of {self._label} can be written next by the schema")
            rows[place].take(int(token_id), log_probability)

    def _bias(self, bits: Tensor, width: int) -> Tensor:
        """Return 0 for a logit that is allowed and -inf for another.

        Args:
            bits: int32 (R, vocabulary / 32), a bit for each token.
            width: W, of the logits.

        Returns:
            float32 (R, W).
        """
        if self._bias_of_byte.device != bits.device:
            self._bias_of_byte = self._bias_of_byte.to(bits.device)
        each = self._bias_of_byte.index_select(0, bits.view(torch.uint8).flatten().int())
        bias = each.view(len(bits), -1)[:, :width]
        return bias if bias.shape[1] == width else pad(bias, (0, width - bias.shape[1]), value=-math.inf)


def byte_tokenizer(tokenizer: Any, vocabulary: int, eos_token_ids: Sequence[int], label: str) -> Any:
    """Return llguidance's form of a tokenizer, which knows the bytes of each token.

    Raises:
        RequestError: llguidance is not installed, or does not know tokenizers of this kind.
    """
    llguidance()
    from llguidance.hf import from_tokenizer

    try:
        size = max(vocabulary, len(tokenizer))
        return from_tokenizer(tokenizer, n_vocab=size, eos_token=list(eos_token_ids))
    except ValueError as error:
        raise RequestError(f"--schema: {label}: its tokenizer cannot be held to a schema: {error}") from error


def written_object(
    tokenizer: Any,
    tokens: Sequence[int],
    log_probabilities: Sequence[float],
    finish_reason: FinishReason,
    warning: str | None,
) -> WrittenObject:
    """Return the object of the tokens that were written; `tokenizer` is that of `byte_tokenizer`."""
    pieces = tuple(tokenizer.decode_bytes([token]) for token in tokens)
    text = b"".join(pieces).decode(errors="ignore")
    return WrittenObject(text, pieces, tuple(log_probabilities), finish_reason, warning)


@dataclass(eq=False)
class _Row:
    """One object under way; `waiting` holds tokens that the model has not read yet."""

    matcher: Any
    limit: int
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    done: bool = False
    finish_reason: FinishReason = "length"

    def take(self, token: int, log_probability: float) -> None:
        """Append a token that was chosen, and those that must follow it."""
        self._append([token], log_probability)
        self.take_forced()

    def take_forced(self) -> None:
        """Append the tokens that have no alternative."""
        forced = self.matcher.compute_ff_tokens() if not self.done else []
        if forced:
            self._append(forced, 0.0)

    def feed(self, count: int) -> list[int]:
        """Return the next tokens for the model to read; any for a row that is done."""
        fed, self.waiting = self.waiting[:count], self.waiting[count:]
        return fed if not self.done else [0] * count

    def _append(self, tokens: Sequence[int], log_probability: float) -> None:
        if not self.matcher.consume_tokens(list(tokens)):
            raise RowError(ErrorCode.MODEL_ERROR, f"the schema's grammar fails: {self.matcher.get_error()}")
        kept = tokens[: self.limit - len(self.tokens)]
        self.tokens += kept
        self.log_probabilities += [log_probability] * len(kept)
        self.waiting += kept
        if len(kept) == len(tokens) and self.matcher.is_stopped() and self.matcher.is_accepting():
            self.finish_reason = "stop"
        self.done = self.finish_reason == "stop" or len(self.tokens) >= self.limit

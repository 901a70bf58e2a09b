"""Continuing rows of text token by token, for any language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from vqa_ray.models.layers.device import send_indices
from vqa_ray.types import FinishReason

# Tokens that are written between two looks at which texts have ended. A look makes the host wait for the device, so a
# GPU would idle meanwhile; on a CPU it costs nothing.
_TOKENS_PER_LOOK = {"cpu": 1, "cuda": 8}
# The share of a batch's rows that must have ended before the others are copied together, without them.
_ENDED_SHARE = {"cpu": 0.0, "cuda": 0.25}


class Decoding(Protocol):
    """R rows that were read so far.

    Attributes:
        logits: (R, V), of the next token of each row.
    """

    logits: Tensor

    def decode(self, tokens: Tensor) -> Tensor:
        """Append tokens (R, N), and return the logits (R, N, V) after each."""
        ...

    def select(self, rows: Tensor) -> Decoding:
        """Copy some rows (K,), in any order, repeated or not; `logits` too."""
        ...


@dataclass(frozen=True, slots=True)
class Generated:
    """A row's continuation.

    Attributes:
        tokens: without the closing token.
        log_probability: the mean over its tokens, natural logarithm; the closing one counts where it was reached.
        finish_reason: `stop` where the closing token was reached.
    """

    tokens: tuple[int, ...]
    log_probability: float
    finish_reason: FinishReason


@dataclass(slots=True)
class _Text:
    """The tokens of a row so far, the closing one included, and the log-probability of each."""

    tokens: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    ended: bool = False

    def extend(self, tokens: Sequence[int], values: Sequence[float], eos_token_ids: Sequence[int]) -> None:
        """Add tokens up to the closing one; what a row went on to write behind it is dropped."""
        for token, value in zip(tokens, values, strict=True):
            if self.ended:
                break
            self.tokens.append(token)
            self.values.append(value)
            self.ended = token in eos_token_ids


def greedy(
    decoding: Decoding, eos_token_ids: Sequence[int], max_new_tokens: int, *, drops_rows: bool = True
) -> list[Generated]:
    """Continue each row with its likeliest token until a closing one.

    The tokens are those of transformers' `generate(num_beams=1, do_sample=False)`. On a GPU a row may go on for some
    tokens behind its closing one, see `_TOKENS_PER_LOOK`; they are left out. Rows that have ended are dropped, so the
    work follows the length of the answers.

    Args:
        decoding: used up.
        eos_token_ids: the ids that end a text.
        max_new_tokens: the closing one included.
        drops_rows: whether `decoding` can select rows.
    """
    device = decoding.logits.device
    kind = device.type if device.type in _TOKENS_PER_LOOK else "cpu"
    texts = [_Text() for _ in range(len(decoding.logits))]
    # The text that each row of `decoding` writes.
    rows = texts
    logits = decoding.logits.float()
    unread: list[Tensor] = []
    for count in range(1, max_new_tokens + 1):
        best, token = logits.max(dim=-1)
        unread.append(_packed(token, best - logits.logsumexp(dim=-1)))
        if count == max_new_tokens or len(unread) == _TOKENS_PER_LOOK[kind]:
            for text, tokens, values in zip(rows, *_unpacked(unread), strict=True):
                text.extend(tokens, values, eos_token_ids)
            unread = []
            going = [place for place, text in enumerate(rows) if not text.ended]
            if count == max_new_tokens or not going:
                break
            spent = len(rows) - len(going)
            if drops_rows and spent and spent >= _ENDED_SHARE[kind] * len(rows):
                kept = send_indices(going, device)
                decoding, token, rows = decoding.select(kept), token[kept], [rows[place] for place in going]
        logits = decoding.decode(token[:, None])[:, -1].float()
    return [ended(text.tokens, sum(text.values) / len(text.tokens), eos_token_ids) for text in texts]


def _packed(tokens: Tensor, values: Tensor) -> Tensor:
    """Ids int64 (R,) and numbers float32 (R,) as int32 (R, 2), so that one copy brings both to the host."""
    return torch.stack([tokens.int(), values.view(torch.int32)], dim=1)


def _unpacked(steps: Sequence[Tensor]) -> tuple[list[list[int]], list[list[float]]]:
    """Return the ids and the numbers of S `_packed` steps, of each row a list of S; waits for the device."""
    host = torch.stack(list(steps), dim=-1).cpu()
    return host[:, 0].tolist(), host[:, 1].view(torch.float32).tolist()


def ended(tokens: Sequence[int], log_probability: float, eos_token_ids: Sequence[int]) -> Generated:
    """Make a continuation of tokens, the last of which may be the closing one."""
    if tokens and tokens[-1] in eos_token_ids:
        return Generated(tuple(tokens[:-1]), log_probability, "stop")
    return Generated(tuple(tokens), log_probability, "length")


def up_to_eos(ids: Sequence[int], eos_token_ids: Sequence[int]) -> list[int]:
    """Cut a text behind its closing token; what follows is padding."""
    ends = [place for place, token in enumerate(ids) if token in eos_token_ids]
    return list(ids[: ends[0] + 1] if ends else ids)


def mean_log_probabilities(
    decoding: Decoding, choices: Sequence[Sequence[Sequence[int]]], rows_per_pass: int
) -> list[list[float]]:
    """Return, for the choices of each row, the mean log-probability of their tokens.

    Choices of one token cost nothing beyond what was read; the others are read side by side after it.

    Args:
        decoding: left as it is.
        choices: of each row, the token ids of its choices, at least one each.
        rows_per_pass: continuations to read at once.
    """
    device = decoding.logits.device
    pairs = [(row, tokens) for row, options in enumerate(choices) for tokens in options]
    rows, first = send_indices([[row for row, _ in pairs], [tokens[0] for _, tokens in pairs]], device)
    totals = decoding.logits.float().log_softmax(dim=-1)[rows, first]
    longer = [place for place, (_, tokens) in enumerate(pairs) if len(tokens) > 1]
    longer.sort(key=lambda place: len(pairs[place][1]))
    for start in range(0, len(longer), rows_per_pass):
        part = longer[start : start + rows_per_pass]
        places = send_indices(part, device)
        totals[places] += _rest(decoding.select(rows[places]), [pairs[place][1] for place in part])
    sums = iter(totals.tolist())
    return [[next(sums) / len(tokens) for tokens in options] for options in choices]


def _rest(decoding: Decoding, sequences: Sequence[Sequence[int]]) -> Tensor:
    """(R,): summed log-probabilities of all tokens but the first."""
    width = max(map(len, sequences))
    # Padding comes behind, where causal attention does not look.
    padded = [[*tokens, *[0] * (width - len(tokens))] for tokens in sequences]
    counted = [[int(place < len(tokens)) for place in range(1, width)] for tokens in sequences]
    ids, real = send_indices(padded, decoding.logits.device), send_indices(counted, decoding.logits.device)
    logits = decoding.decode(ids[:, :-1]).float()
    given = logits.gather(-1, ids[:, 1:, None])[..., 0] - logits.logsumexp(dim=-1)
    return (given * real).sum(dim=-1)

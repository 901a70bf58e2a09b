"""Continuing rows of text token by token, for any language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vqa_ray.types import FinishReason


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


def greedy(decoding: Decoding, eos_token_ids: Sequence[int], max_new_tokens: int) -> list[Generated]:
    """Continue each row with its likeliest token until a closing one.

    The tokens are those of transformers' `generate(num_beams=1, do_sample=False)`. Rows that are done are dropped, so
    the work follows the length of the answers.

    Args:
        decoding: used up.
        eos_token_ids: the ids that end a text.
        max_new_tokens: the closing one included.
    """
    count, device = len(decoding.logits), decoding.logits.device
    chosen = torch.full((count, max_new_tokens), -1, dtype=torch.long, device=device)
    given = torch.zeros(count, max_new_tokens, device=device)
    ends = torch.tensor(sorted(eos_token_ids), dtype=torch.long, device=device)
    rows = torch.arange(count, device=device)
    logits = decoding.logits.float()
    for step in range(max_new_tokens):
        best, token = logits.max(dim=-1)
        chosen[rows, step] = token
        given[rows, step] = best - logits.logsumexp(dim=-1)
        if step + 1 == max_new_tokens:
            break
        going = torch.isin(token, ends, invert=True).nonzero()[:, 0]
        if len(going) == 0:
            break
        if len(going) < len(rows):
            decoding, rows, token = decoding.select(going), rows[going], token[going]
        logits = decoding.decode(token[:, None])[:, -1].float()
    return [
        _generated(tokens, values, eos_token_ids)
        for tokens, values in zip(chosen.tolist(), given.tolist(), strict=True)
    ]


def _generated(tokens: Sequence[int], log_probabilities: Sequence[float], eos_token_ids: Sequence[int]) -> Generated:
    said = [token for token in tokens if token >= 0]
    mean = sum(log_probabilities[: len(said)]) / len(said)
    return ended(said, mean, eos_token_ids)


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
    rows = torch.tensor([row for row, _ in pairs], dtype=torch.long, device=device)
    first = torch.tensor([tokens[0] for _, tokens in pairs], dtype=torch.long, device=device)
    totals = decoding.logits.float().log_softmax(dim=-1)[rows, first]
    longer = [place for place, (_, tokens) in enumerate(pairs) if len(tokens) > 1]
    longer.sort(key=lambda place: len(pairs[place][1]))
    for start in range(0, len(longer), rows_per_pass):
        places = torch.tensor(longer[start : start + rows_per_pass], dtype=torch.long, device=device)
        totals[places] += _rest(decoding.select(rows[places]), [pairs[place][1] for place in places.tolist()])
    sums = iter(totals.tolist())
    return [[next(sums) / len(tokens) for tokens in options] for options in choices]


def _rest(decoding: Decoding, sequences: Sequence[Sequence[int]]) -> Tensor:
    """(R,): summed log-probabilities of all tokens but the first."""
    width = max(map(len, sequences))
    # Padding comes behind, where causal attention does not look.
    ids = torch.tensor([[*tokens, *[0] * (width - len(tokens))] for tokens in sequences])
    real = torch.arange(1, width)[None] < torch.tensor([len(tokens) for tokens in sequences])[:, None]
    ids, real = ids.to(decoding.logits.device), real.to(decoding.logits.device)
    logits = decoding.decode(ids[:, :-1]).float()
    given = logits.gather(-1, ids[:, 1:, None])[..., 0] - logits.logsumexp(dim=-1)
    return (given * real).sum(dim=-1)

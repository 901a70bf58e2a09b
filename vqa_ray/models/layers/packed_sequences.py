"""Token sequences of different lengths, one after the other, so that the products of a batch are few and large.

Linear layers run over all tokens alike; `PackedSequences.attend` keeps each sequence to itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vqa_ray.models.layers.attention import attend

# Tokens by which a packed batch grows.
_GRANULE = 64


class Segment(NamedTuple):
    """The place of sequences of one length among packed tokens.

    Attributes:
        rows: how many.
        length: tokens of each; text_length: how many of them, in front, are of the question.
        mask: bool (rows, 1, 1, length), which of them are attended to; None for all.
    """

    rows: int
    length: int
    text_length: int
    mask: Tensor | None


class PackedSequences(NamedTuple):
    """The tokens of sequences of any lengths, one after the other.

    Attributes:
        tokens: (T, D); behind the last segment there may be some that mean nothing.
        segments: in order.
    """

    tokens: Tensor
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, parts: Sequence[Tensor], segments: Sequence[Segment]) -> PackedSequences:
        """Pack the tokens (rows × length, D) of each segment."""
        tokens = joined(parts)
        # A CPU compiles its products anew for every number of tokens: few numbers, few compilations.
        if tokens.device.type == "cpu":
            tokens = F.pad(tokens, (0, 0, 0, -len(tokens) % _GRANULE))
        return cls(tokens, tuple(segments))

    def with_tokens(self, tokens: Tensor) -> PackedSequences:
        """Other tokens in the same places."""
        return self._replace(tokens=tokens)

    def groups(self, x: Tensor) -> list[Tensor]:
        """(T, …) → (rows, length, …) of each segment."""
        parts = split(x, [segment.rows * segment.length for segment in self.segments])
        shapes = ((segment.rows, segment.length) for segment in self.segments)
        return [part.view(*shape, *x.shape[1:]) for part, shape in zip(parts, shapes, strict=True)]

    def first(self, x: Tensor) -> Tensor:
        """(T, D) → (N, D): the first token of each sequence."""
        return joined([part[:, 0] for part in self.groups(x)])

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, heads: int, *, dropout: float = 0.0, training: bool = False
    ) -> Tensor:
        """Attention within each sequence.

        Args:
            q: (T, D) of all tokens, or (N, D) of the first of each sequence; the result is shaped like it.
            k: (T, D).
            v: (T, D).
            heads: D is shared among them.
            dropout: the share of attention probabilities that is dropped.
            training: the result is differentiated.
        """

        def by_head(x: Tensor, rows: int) -> Tensor:
            """(rows × length, D) → (rows, heads, length, D / heads)."""
            return x.view(rows, -1, heads, x.shape[1] // heads).transpose(1, 2)

        keys = [segment.rows * segment.length for segment in self.segments]
        asked = keys if len(q) == len(k) else [segment.rows for segment in self.segments]
        spare = len(q) - sum(asked)
        parts = []
        for segment, *each in zip(self.segments, split(q, asked), split(k, keys), split(v, keys), strict=True):
            query, key, value = (by_head(x, segment.rows) for x in each)
            mixed = attend(query, key, value, segment.mask, dropout=dropout, training=training)
            parts.append(mixed.transpose(1, 2).flatten(2).flatten(0, 1))
        return joined([*parts, q.new_zeros(spare, q.shape[1])] if spare else parts)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """One tensor of all parts, along the first dimension."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def split(x: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
    """Parts of the first dimension; what is beyond them is left."""
    return torch.split(x[: sum(sizes)], list(sizes))

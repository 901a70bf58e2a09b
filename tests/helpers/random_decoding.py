"""A language model of chance: logits that follow from a seed alone."""

from __future__ import annotations

import torch
from torch import Tensor


class RandomDecoding:
    """See `vqa_ray.models.generation.decoding.Decoding`; `fed` notes the tokens of each call."""

    def __init__(self, rows: int, vocabulary: int, seed: int = 0, fed: list[Tensor] | None = None) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._vocabulary = vocabulary
        self.fed = [] if fed is None else fed
        self.logits = self._random(rows)

    def decode(self, tokens: Tensor) -> Tensor:
        self.fed.append(tokens)
        assert len(tokens) == len(self.logits)
        return self._random(*tokens.shape)

    def select(self, rows: Tensor) -> RandomDecoding:
        return RandomDecoding(len(rows), self._vocabulary, int(self._random(1).sum() * 1000), self.fed)

    def _random(self, *shape: int) -> Tensor:
        return 4 * torch.randn(*shape, self._vocabulary, generator=self._generator)

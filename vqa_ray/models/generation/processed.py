"""Logits as a checkpoint's generation config wants them: no n-gram twice, a penalty for what was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from vqa_ray.models.generation.decoding import Decoding


def processed(decoding: Decoding, config: Any, opening: Sequence[int]) -> Decoding:
    """Apply the processors of a generation config to a decoding's logits, as `generate` does.

    Args:
        decoding: that has read the opening of each row.
        config: of transformers; its `repetition_penalty` and `no_repeat_ngram_size` count.
        opening: the tokens that each row's text begins with.
    """
    processors = LogitsProcessorList()
    if config.repetition_penalty not in (None, 1.0):
        processors.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        processors.append(NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if not processors:
        return decoding
    written = torch.tensor([list(opening)] * len(decoding.logits), device=decoding.logits.device)
    return ProcessedDecoding(decoding, processors, written, processors(written, decoding.logits.float()))


class ProcessedDecoding:
    """See `Decoding`.

    Args:
        decoding: the plain one.
        processors: of transformers.
        written: int64 (R, L), the tokens of each row so far.
        logits: (R, V), processed.
    """

    def __init__(self, decoding: Decoding, processors: LogitsProcessorList, written: Tensor, logits: Tensor) -> None:
        self.logits = logits
        self._decoding = decoding
        self._processors = processors
        self._written = written

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Decoding.decode`."""
        plain = self._decoding.decode(tokens).float()
        steps = []
        for token, logits in zip(tokens.unbind(dim=1), plain.unbind(dim=1), strict=True):
            self._written = torch.cat([self._written, token[:, None]], dim=1)
            steps.append(self._processors(self._written, logits))
        return torch.stack(steps, dim=1)

    def select(self, rows: Tensor) -> Decoding:
        """See `Decoding.select`."""
        return ProcessedDecoding(self._decoding.select(rows), self._processors, self._written[rows], self.logits[rows])

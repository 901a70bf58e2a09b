"""Logits as a checkpoint's generation config wants them: a penalty for what was said, no n-gram twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from vqa_ray.models.generation.decoding import Decoding
from vqa_ray.models.layers.device import send, send_indices

# No token of any vocabulary, which the processors of transformers leave out.
_PADDING = 2**62


class _PaddedRepetitionPenalty(RepetitionPenaltyLogitsProcessor):  # type: ignore[misc]
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        # A token counts once however often it stands there, so that the last of a row can stand for padding.
        penalised: Tensor = super().__call__(torch.where(input_ids == _PADDING, input_ids[:, -1:], input_ids), scores)
        return penalised


class _NoRepeatedNgram(LogitsProcessor):  # type: ignore[misc]
    """The `NoRepeatNGramLogitsProcessor` of transformers, computed on the device, where that one reads every token."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] < self._size:
            return scores
        # (R, L - size + 1, size): of those that begin like the row's end, the last token is the one to avoid.
        ngrams = input_ids.unfold(1, self._size, 1)
        begun = input_ids[:, input_ids.shape[1] - self._size + 1 :, None].transpose(1, 2)
        avoided = (ngrams[..., :-1] == begun).all(dim=-1) & (ngrams[..., -1] != _PADDING)
        penalty = torch.zeros_like(avoided, dtype=scores.dtype).masked_fill(avoided, -torch.inf)
        return scores.scatter_add(1, ngrams[..., -1].masked_fill(~avoided, 0), penalty)


def on_device(processors: LogitsProcessorList, device: torch.device) -> LogitsProcessorList:
    """Return processors that transformers made on the host as ones that work on a device and read no token."""
    moved = LogitsProcessorList()
    for each in processors:
        for name, value in vars(each).items():
            if isinstance(value, Tensor):
                setattr(each, name, send(value, device))
        is_ngram = isinstance(each, NoRepeatNGramLogitsProcessor)
        moved.append(_NoRepeatedNgram(each.ngram_size) if is_ngram else each)
    return moved


def processed(decoding: Decoding, config: Any, written: Sequence[Sequence[int]]) -> Decoding:
    """Apply the processors of a generation config to a decoding's logits, as `generate` does.

    Args:
        decoding: has read what is written.
        config: of transformers; its `repetition_penalty` and `no_repeat_ngram_size` count.
        written: token ids of each row so far, as `generate` counts them: with the prompt, unless an encoder read that.
    """
    processors = LogitsProcessorList()
    if config.repetition_penalty not in (None, 1.0):
        processors.append(_PaddedRepetitionPenalty(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        processors.append(_NoRepeatedNgram(config.no_repeat_ngram_size))
    if not processors:
        return decoding
    width = max(map(len, written))
    rows = [[_PADDING] * (width - len(row)) + list(row) for row in written]
    tokens = send_indices(rows, decoding.logits.device)
    return ProcessedDecoding(decoding, processors, tokens, processors(tokens, decoding.logits.float()))


class ProcessedDecoding:
    """See `Decoding`.

    Args:
        decoding: the plain one.
        processors: of transformers.
        written: int64 (R, L), the tokens of each row so far, left-padded.
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

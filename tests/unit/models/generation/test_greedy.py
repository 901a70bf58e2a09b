"""The token loop by itself: what is written, when ends are looked at, and when rows are dropped."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from tests.helpers.simulated_cuda import SimulatedCuda
from vqa_ray.models.generation.decoding import Generated, greedy
from vqa_ray.models.generation.processed import on_device, processed

EOS, VOCABULARY, LIMIT = 1, 12, 20


class Script:
    """A decoding whose row number r writes tokens that depend on r until its length, then the closing one, then others.

    Attributes:
        selected: how many rows each `select` kept.
    """

    def __init__(self, lengths: Tensor, numbers: Tensor, selected: list[int], step: int = 0) -> None:
        self.selected = selected
        self._lengths, self._numbers, self._step = lengths, numbers, step
        self.logits = self._next()

    def _next(self) -> Tensor:
        token = 2 + (self._numbers + self._step) % (VOCABULARY - 2)
        token = torch.where(self._lengths == self._step, EOS, token)
        return (torch.arange(VOCABULARY, device=token.device) == token[:, None]).float() * 3

    def decode(self, tokens: Tensor) -> Tensor:
        self._step += tokens.shape[1]
        return self._next()[:, None]

    def select(self, rows: Tensor) -> Script:
        self.selected.append(len(rows))
        return Script(self._lengths[rows], self._numbers[rows], self.selected, self._step)


def written(lengths: Sequence[int], device: str, *, drops_rows: bool = True) -> tuple[list[Generated], list[int]]:
    selected: list[int] = []
    tensors = (torch.tensor(lengths, device=device), torch.arange(len(lengths), device=device))
    return greedy(Script(*tensors, selected), [EOS], LIMIT, drops_rows=drops_rows), selected


LENGTHS = (3, 5, 9, 9, 10, 12, 17, 30)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("drops_rows", [True, False])
def test_each_row_ends_where_it_ends(device: str, drops_rows: bool) -> None:
    with SimulatedCuda() if device == "cuda" else contextlib.nullcontext():
        found, _ = written(LENGTHS, device, drops_rows=drops_rows)
    for number, (length, one) in enumerate(zip(LENGTHS, found, strict=True)):
        count = min(length, LIMIT)
        assert one.tokens == tuple(2 + (number + step) % (VOCABULARY - 2) for step in range(count))
        assert one.finish_reason == ("stop" if length < LIMIT else "length")
        assert one.log_probability == pytest.approx(found[0].log_probability)


def test_a_cpu_drops_a_row_as_soon_as_it_ends() -> None:
    assert written(LENGTHS, "cpu")[1] == [7, 6, 4, 3, 2, 1]
    assert written(LENGTHS, "cpu", drops_rows=False)[1] == []


@pytest.mark.parametrize(
    ("lengths", "kept"), [(LENGTHS, [6, 2]), ((2, *[30] * 7), []), ((2, 2, *[30] * 6), [6]), ((2, 3), [])]
)
def test_a_gpu_looks_every_eight_tokens_and_drops_a_quarter_at_once(lengths: Sequence[int], kept: list[int]) -> None:
    with SimulatedCuda() as device:
        with device.counting() as waits:
            _, selected = written(lengths, "cuda")
        # Two more send the lengths and numbers of the script.
        looks = sum(count for wait, count in waits.items() if "host" in wait)
    assert selected == kept
    assert looks == (1 if max(lengths) < 8 else 3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ngrams_are_kept_from_repeating_as_by_transformers(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    stock = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(1.2), NoRepeatNGramLogitsProcessor(size)])
    ours = on_device(stock, torch.device("cpu"))
    for length in (1, 2, 3, 15):
        tokens = torch.randint(0, 4, (6, length), generator=generator)
        scores = torch.randn(6, 8, generator=generator)
        assert torch.equal(ours(tokens, scores.clone()), stock(tokens, scores.clone()))


class Fixed:
    """A decoding of two rows with given logits: of the next token, and of one after each of two more."""

    def __init__(self, logits: Tensor) -> None:
        self.logits, self._more = logits[:, 0], logits[:, 1:]

    def decode(self, tokens: Tensor) -> Tensor:
        return self._more

    def select(self, rows: Tensor) -> Fixed:
        raise NotImplementedError


@pytest.mark.parametrize("size", [1, 2, 3])
def test_rows_of_different_length_are_processed_as_each_by_itself(size: int) -> None:
    config = SimpleNamespace(repetition_penalty=1.2, no_repeat_ngram_size=size)
    stock = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(1.2), NoRepeatNGramLogitsProcessor(size)])
    rows, more = [[2, 3, 4, 2, 3, 4, 2, 3], [5, 6]], [[4, 2], [5, 6]]
    logits = torch.randn(2, 3, VOCABULARY, generator=torch.Generator().manual_seed(size))
    decoding = processed(Fixed(logits), config, rows)
    found = torch.cat([decoding.logits[:, None], decoding.decode(torch.tensor(more))], dim=1)
    for row, given in enumerate(rows):
        for step in range(3):
            read = torch.tensor([given + more[row][:step]])
            assert torch.equal(found[row, step], stock(read, logits[row : row + 1, step].clone())[0])

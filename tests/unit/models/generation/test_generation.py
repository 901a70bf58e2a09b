"""Continuing rows, fitting prompts and splitting work, on language models of a few lines."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vqa_ray.errors import RequestError, RowError
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.generation.decoding import greedy, mean_log_probabilities
from vqa_ray.models.generation.kv_cache import PreallocatedLayer, pad
from vqa_ray.models.generation.prompt_budget import PromptTruncator
from vqa_ray.models.generation.prompts import Prompting
from vqa_ray.models.layers.microbatch import by_length, cut_by_length, run_passes
from vqa_ray.types import Turn

VOCABULARY = 7


class Counting:
    """A language model whose next token follows from the sum of what a row has read: `Decoding` by hand."""

    def __init__(self, sums: Tensor, fed: list[int]) -> None:
        self.sums = sums
        self.fed = fed
        self.logits = _logits(sums)

    def decode(self, tokens: Tensor) -> Tensor:
        self.fed.append(len(tokens))
        sums = self.sums[:, None] + tokens.cumsum(dim=1)
        self.sums = sums[:, -1]
        return _logits(sums)

    def select(self, rows: Tensor) -> Counting:
        return Counting(self.sums[rows], self.fed)


def _logits(sums: Tensor) -> Tensor:
    values: Tensor = (torch.arange(VOCABULARY) * 1.7 + sums[..., None] * 2.3).sin() * 3
    return values


def by_hand(start: int, closing: set[int], limit: int) -> tuple[list[int], float]:
    total, tokens, given = start, [], []
    for _ in range(limit):
        log_probabilities = _logits(torch.tensor(total)).log_softmax(-1)
        token = int(log_probabilities.argmax())
        given.append(float(log_probabilities[token]))
        if token in closing:
            break
        tokens.append(token)
        total += token
    return tokens, sum(given) / len(given)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.sets(st.integers(0, 6), max_size=3), st.integers(1, 6))
def test_rows_are_continued_as_if_each_were_alone(starts: list[int], closing: set[int], limit: int) -> None:
    found = greedy(Counting(torch.tensor(starts), []), tuple(closing), limit)
    for start, generated in zip(starts, found, strict=True):
        tokens, mean = by_hand(start, closing, limit)
        assert list(generated.tokens) == tokens
        assert generated.log_probability == pytest.approx(mean, abs=1e-5)


def test_rows_that_are_done_are_not_continued() -> None:
    fed: list[int] = []
    starts = list(range(12))
    lengths = [len(by_hand(start, {3}, 8)[0]) for start in starts]
    greedy(Counting(torch.tensor(starts), fed), (3,), 8)
    assert fed == [sum(length > step for length in lengths) for step in range(min(7, max(lengths)))]
    assert fed[-1] < 12, "no row ended early"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 50),
            st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 3),
)
def test_choices_are_scored_as_if_each_were_alone(rows: list[tuple[int, list[list[int]]]], at_once: int) -> None:
    starts = torch.tensor([start for start, _ in rows])
    found = mean_log_probabilities(Counting(starts, []), [choices for _, choices in rows], at_once)
    for (start, choices), means in zip(rows, found, strict=True):
        for choice, mean in zip(choices, means, strict=True):
            total, given = start, []
            for token in choice:
                given.append(float(_logits(torch.tensor(total)).log_softmax(-1)[token]))
                total += token
            assert mean == pytest.approx(sum(given) / len(given), abs=1e-5)


def test_choices_of_one_token_decode_nothing() -> None:
    fed: list[int] = []
    mean_log_probabilities(Counting(torch.tensor([1, 2]), fed), [[[1], [2]], [[3]]], 8)
    assert fed == []


@pytest.mark.parametrize("given", [{"max_new_tokens": 0}, {"caption_max_new_tokens": -1}, {"num_beams": 0}])
def test_counts_below_one_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(RequestError, match=f"{next(iter(given))} is .*at least 1"):
        GenerationConfig(**given)


def words(text: str) -> list[int]:
    return [len(word) for word in text.split()]


turn = st.tuples(st.text("ab ", max_size=12), st.text("ab ", max_size=6))


@given(st.text("abc ", max_size=80), st.lists(turn, max_size=5), st.integers(4, 30))
def test_a_fitted_prompt_never_exceeds_the_limit_and_says_what_is_gone(
    question: str, turns: list[Turn], limit: int
) -> None:
    fit = PromptTruncator(words, Prompting(), limit)
    prompt = fit.fit(question, turns)
    assert 0 < len(prompt.ids) <= limit
    assert list(prompt.ids) == words(prompt.text)
    whole = words(Prompting().text(question, turns))
    assert (prompt.warning is None) == (len(whole) <= limit)


def test_what_cannot_be_fitted_is_an_error_of_its_row() -> None:
    with pytest.raises(RowError, match="template alone fills the model's 1 tokens"):
        PromptTruncator(words, Prompting(), 1).fit("what is it?")
    with pytest.raises(RowError, match="spells the token"):
        PromptTruncator(words, Prompting(), 9, image_token=5).fit("a photo of seven")
    with pytest.raises(RowError, match="the prompt has 3 tokens; the model reads at most 2"):
        PromptTruncator(words, Prompting(), 2).plain("a photo of")


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 200), st.booleans())
def test_parts_hold_everything_once_and_stay_within_their_tokens(lengths: list[int], tokens: int, padded: bool) -> None:
    parts = by_length(lengths, lambda length: length, tokens, padded=padded)
    assert sorted(length for part in parts for length in part) == sorted(lengths)
    for part in parts:
        assert len(part) == 1 or len(part) * max(part) <= tokens
        assert padded or len(set(part)) == 1


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(0, 20))
def test_groups_are_cut_where_it_costs_least(lengths: list[int], overhead: int) -> None:
    groups = cut_by_length(lengths, overhead)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    ordered = sorted(lengths)
    # Every way to cut the sorted lengths.
    ways = (
        [place + 1 for place in range(len(lengths) - 1) if cuts >> place & 1] for cuts in range(1 << len(lengths) - 1)
    )
    costs = [
        sum((end - start) * ordered[end - 1] + overhead for start, end in itertools.pairwise([0, *way, len(ordered)]))
        for way in ways
    ]
    assert sum(len(group) * max(lengths[place] for place in group) + overhead for group in groups) == min(costs)


def test_a_part_that_does_not_fit_is_halved_until_it_does() -> None:
    done: list[int] = []

    def call(part: object) -> None:
        assert isinstance(part, list)
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.extend(part)

    assert run_passes([[1, 2, 3, 4, 5], [], [6]], call) == 2
    assert done == [1, 2, 3, 4, 5, 6]


def test_one_item_that_does_not_fit_is_told() -> None:
    def call(part: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        run_passes([[1, 2]], call)


def test_a_roomy_layer_holds_what_a_growing_one_would() -> None:
    keys, values = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    rows = torch.tensor([1, 0, 1])
    layer = PreallocatedLayer.start(keys, values, rows, extra_tokens=2)
    more = torch.randn(3, 3, 2, 5)
    held, _ = layer.update(more[:, :, :1], more[:, :, :1])
    torch.testing.assert_close(held, torch.cat([keys[rows], more[:, :, :1]], dim=2))
    copy = layer.select(torch.tensor([2]))
    layer.update(more[:, :, 1:], more[:, :, 1:])
    assert layer.get_seq_length() == 6
    assert copy.get_seq_length() == 5
    copied, _ = copy.update(more[:1, :, 1:], more[:1, :, 1:])
    torch.testing.assert_close(copied[0], torch.cat([keys[1], more[2, :, :1], more[0, :, 1:]], dim=1))


@pytest.mark.parametrize("left", [True, False])
def test_padding_stands_on_the_side_that_is_asked_for(left: bool) -> None:
    ids, mask = pad([[5, 6, 7], [8]], left=left, device=torch.device("cpu"))
    assert mask is not None
    assert ids.tolist() == ([[5, 6, 7], [0, 0, 8]] if left else [[5, 6, 7], [8, 0, 0]])
    assert mask.tolist() == ([[1, 1, 1], [0, 0, 1]] if left else [[1, 1, 1], [1, 0, 0]])
    assert pad([[1], [2]], left=left, device=torch.device("cpu"))[1] is None


def test_by_hand_is_not_trivial() -> None:
    texts = {tuple(by_hand(start, {3}, 6)[0]) for start in range(20)}
    assert len(texts) > 8
    assert math.isfinite(by_hand(0, set(), 3)[1])

"""The choices of closed questions as tokens and as probabilities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import tiny_blip
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.generation.choices import continuation_tokens, opening_tokens, probabilities
from vqa_ray.models.transforms.square import SquareTransform


def test_a_continuation_keeps_the_space_before_its_word() -> None:
    tokenizer = tiny_blip.byte_tokenizer()

    def tokenize(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    for choice in ("yes", "golden  retriever", "zebra"):
        tokens = continuation_tokens(tokenize, choice)
        assert tokenizer.decode(tokens) == " " + " ".join(choice.split())
    assert continuation_tokens(tokenize, "  ") == ()


def test_a_continuation_of_pieces_that_carry_their_space_is_not_doubled() -> None:
    tokenizer = tiny_blip.sentence_tokenizer()

    def tokenize(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    assert continuation_tokens(tokenize, "yes") == opening_tokens(tokenize, "yes") == tuple(tokenize("yes"))
    assert opening_tokens(tokenize, "\n") == ()


@given(st.lists(st.floats(-50, 0) | st.just(math.nan), min_size=1, max_size=8))
def test_probabilities_sum_to_one_over_what_is_known(values: list[float]) -> None:
    found = probabilities(values)
    known = [score for score in found if not math.isnan(score)]
    assert [math.isnan(score) for score in found] == [math.isnan(value) for value in values]
    if known:
        assert sum(known) == pytest.approx(1)
        assert all(0 <= score <= 1 for score in known)


def test_probabilities_of_two_are_those_of_yes_against_no() -> None:
    yes, no = probabilities((-1.0, -2.0))
    assert yes == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert yes + no == pytest.approx(1)


@pytest.mark.parametrize("size", [224, {"height": 224, "width": 224}])
def test_the_transform_reads_both_layouts(size: object) -> None:
    assert SquareTransform.from_config({"size": size}, "model x") == SquareTransform(224)
    assert SquareTransform.from_config({}, "model x").target_size(10, 9_000) == (384, 384)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"size": {"shortest_edge": 224}}, "size is"),
        ({"size": {"height": 224, "width": 384}}, "size is"),
        ({"size": 0}, "size is 0"),
        ({"resample": 2}, "resample is 2"),
        ({"do_normalize": False}, "do_normalize is false"),
    ],
)
def test_the_transform_refuses_what_it_does_not_do(config: dict[str, object], told: str) -> None:
    with pytest.raises(ModelLoadError, match=f"model x: {told}"):
        SquareTransform.from_config(config, "model x")

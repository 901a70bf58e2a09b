"""The filters of instruction data."""

from __future__ import annotations

import pytest

from vqa_ray.errors import RowError
from vqa_ray.instruct.filters import Filters


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry.",
        "As an AI language model, I cannot see.",
        "I cannot view images.",
        "Please provide the image.",
        "There is no image; no image was provided.",
    ],
)
def test_refusals_are_known(answer: str) -> None:
    with pytest.raises(RowError, match="filtered_refusal"):
        Filters().check([("What?", "A cat."), ("And?", answer)])


@pytest.mark.parametrize("answer", ["A sign that says sorry.", "The artist is an AI enthusiast.", "I see a cat."])
def test_answers_about_such_things_are_none(answer: str) -> None:
    Filters().check([("What?", answer)])


def test_answers_have_a_length() -> None:
    filters = Filters(min_words=2, max_words=3)
    filters.check([("Q", "two words"), ("Q", "now three words")])
    for answer in ("one", "these are four words"):
        with pytest.raises(RowError, match=r"filtered_length: .*allowed are --min-words 2, --max-words 3"):
            filters.check([("Q", answer)])


def test_near_duplicate_questions_are_left_out() -> None:
    asked: list[str] = []
    pairs = [("What colour is the cat?", "Red"), ("what colour is the cat", "Red"), ("Where is the dog?", "Here")]
    kept, warning = Filters().distinct(pairs, asked)
    assert kept == [pairs[0], pairs[2]]
    assert warning == "1 of 3 questions were near-duplicates"
    assert asked == [pairs[0][0], pairs[2][0]]
    with pytest.raises(RowError, match="filtered_duplicate: asked about the image already: 'What colour"):
        Filters().distinct(pairs[:1], asked)
    # One word of five differs.
    assert Filters(max_similarity=1.0).distinct([("What colour is a cat?", "Red")], asked)[1] is None

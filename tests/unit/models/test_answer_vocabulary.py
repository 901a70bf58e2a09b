"""A closed vocabulary finds answers however they are spelt, and names the nearest words where it lacks one."""

from __future__ import annotations

import pytest

from vqa_ray.models.answer_vocabulary import AnswerVocabulary

KNOWN = AnswerVocabulary(["t-shirt", "cell phone", "2 dogs", "Yes", "A", "a dog", "no"])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("t-shirt", "t-shirt"),
        ("T SHIRT", "t-shirt"),
        ("t shirt", "t-shirt"),
        ("two dogs", "2 dogs"),
        (" yes ", "Yes"),
        ("yes!", "Yes"),
        ("dog", "a dog"),
        ("a", "A"),
        ("phone", None),
        ("", None),
    ],
)
def test_answers_match_by_their_normal_form(asked: str, found: str | None) -> None:
    place = KNOWN.index_of(asked)
    assert (None if place is None else KNOWN.labels[place]) == found
    assert KNOWN.known_choices([asked]) == [found is not None]


def test_the_same_text_comes_before_the_same_normal_form() -> None:
    vocabulary = AnswerVocabulary(["t shirt", "t-shirt", "T-Shirt"])
    assert [vocabulary.index_of(each) for each in ("t-shirt", "T-Shirt", "T SHIRT", "t shirt!")] == [1, 2, 0, 0]


@pytest.mark.parametrize(
    ("asked", "near"),
    [("mobile phone", ["cell phone"]), ("tshirts", ["t-shirt"]), ("dogs", ["2 dogs", "a dog"]), ("zebra", [])],
)
def test_the_nearest_words(asked: str, near: list[str]) -> None:
    assert KNOWN.nearest(asked) == near


def test_a_clause_for_refusals() -> None:
    assert KNOWN.suggest(["phone", "tshirt"]) == "the nearest words it knows are 'cell phone', 't-shirt'"
    assert KNOWN.suggest(["zebra"]) == (
        "none of its 7 words is similar ('t-shirt', 'cell phone', '2 dogs', 'Yes', 'A', …)"
    )

"""Taxonomies: what is asked, how scores become tags, and what a model or a table cannot take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.schema import tag_schema
from vqa_ray.taxonomy.attribute import ClosedQuestion, probability_of_yes
from vqa_ray.taxonomy.taxonomy import Taxonomy


def taxonomy(*attributes: dict[str, Any]) -> Taxonomy:
    return Taxonomy.model_validate({"attributes": list(attributes)})


COLOUR = {"name": "colour", "question": "what colour is it?", "choices": ["red", "orange"], "threshold": 0.3}
MOTIF = {
    "name": "motif",
    "question": "is there {choice}?",
    "choices": {"dog": "a dog", "cat": "a cat", "fish": "a fish"},
    "mode": "yes_no",
    "multi": True,
}


class Vocabulary:
    def __init__(self, *words: str) -> None:
        self.words = words

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        return [choice in self.words for choice in choices]


def test_questions_are_asked_once_or_per_choice() -> None:
    assert taxonomy(COLOUR, MOTIF).questions() == [
        ClosedQuestion("what colour is it?", ("red", "orange")),
        ClosedQuestion("is there a dog?", ("yes", "no")),
        ClosedQuestion("is there a cat?", ("yes", "no")),
        ClosedQuestion("is there a fish?", ("yes", "no")),
    ]


def test_scores_become_tags_and_columns() -> None:
    tags = taxonomy(COLOUR, MOTIF).tags([(0.2, 0.6), (0.3, 0.1), (0.1, 0.3), (0.9, 0.1)])
    assert tags.tags == ("colour:orange", "motif:fish", "motif:dog")
    assert tags.columns["colour"] == "orange"
    assert tags.columns["colour_score"] == pytest.approx(0.6)
    assert tags.columns["motif"] == ["fish", "dog"]
    assert tags.columns["motif_score"] == pytest.approx([0.9, 0.75])


def test_below_the_threshold_the_score_stays_and_the_choice_goes() -> None:
    tags = taxonomy(COLOUR).tags([(0.29, 0.1)])
    assert tags.tags == ()
    assert tags.columns == {"colour": None, "colour_score": pytest.approx(0.29)}
    assert taxonomy(COLOUR).tags([(0.3, 0.1)]).columns["colour"] == "red"


def test_single_attributes_give_one_tag_and_the_first_choice_wins_a_tie() -> None:
    single = taxonomy({**MOTIF, "multi": False})
    assert single.tags([(0.9, 0.1)] * 3).tags == ("motif:dog",)


def test_the_default_threshold_follows_the_mode() -> None:
    attributes = taxonomy({**COLOUR, "threshold": None}, MOTIF).attributes
    assert [each.threshold for each in attributes] == [0.0, 0.5]


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_the_models_error(score: float) -> None:
    with pytest.raises(RowError, match="score of colour:orange is") as caught:
        taxonomy(COLOUR).tags([(0.5, score)])
    assert caught.value.code is ErrorCode.MODEL_ERROR


@pytest.mark.parametrize(("yes", "no", "expected"), [(0.6, 0.2, 0.75), (0.0, 0.4, 0.0), (0.0, 0.0, 0.0)])
def test_probability_of_yes(yes: float, no: float, expected: float) -> None:
    assert probability_of_yes(yes, no) == pytest.approx(expected)


SCORE = st.floats(0, 1)


@settings(deadline=None)
@given(
    st.lists(SCORE, min_size=2, max_size=2), st.lists(st.tuples(SCORE, SCORE), min_size=3, max_size=3), st.booleans()
)
def test_tags_are_what_the_columns_say(colours: list[float], motifs: list[tuple[float, float]], multi: bool) -> None:
    described = taxonomy({**COLOUR, "multi": multi}, MOTIF)
    result = described.tags([colours, *motifs])
    assert set(result.columns) == {"colour", "colour_score", "motif", "motif_score"}
    colour = result.columns["colour"]
    given_colours = colour if multi else [colour] if colour else []
    listed = [f"colour:{choice}" for choice in given_colours]
    listed += [f"motif:{choice}" for choice in result.columns["motif"]]
    assert list(result.tags) == listed
    assert result.columns["motif_score"] == sorted(result.columns["motif_score"], reverse=True)
    assert all(score >= 0.5 for score in result.columns["motif_score"])


def test_fingerprint_changes_with_what_changes_tags_and_nothing_else() -> None:
    plain = taxonomy(COLOUR, MOTIF).fingerprint
    spelt_out = {**COLOUR, "multi": False, "choices": {"red": "red", "orange": "orange"}}
    assert plain == taxonomy(spelt_out, MOTIF).fingerprint
    changed = [
        taxonomy(MOTIF, COLOUR),
        taxonomy({**COLOUR, "threshold": 0.31}, MOTIF),
        taxonomy({**COLOUR, "multi": True}, MOTIF),
        taxonomy({**COLOUR, "question": "which colour?"}, MOTIF),
        taxonomy({**COLOUR, "choices": ["orange", "red"]}, MOTIF),
        taxonomy({**COLOUR, "choices": {"red": "crimson", "orange": "orange"}}, MOTIF),
    ]
    assert len({plain, *(each.fingerprint for each in changed)}) == 7
    assert plain == "23bf7d9eb6d5a03e"


def test_every_output_column_is_refused_as_a_name() -> None:
    for name in tag_schema([]).names:
        with pytest.raises(ValueError, match=f"column '{name}' is an output column of every run"):
            taxonomy({**COLOUR, "name": name})


def test_a_kept_column_may_not_be_an_attributes() -> None:
    taxonomy(COLOUR).check_kept(["brand", "price"])
    with pytest.raises(
        RequestError, match=r"kept column 'Colour_Score': attribute 'colour' .* --keep NEW=Colour_Score$"
    ):
        taxonomy(COLOUR).check_kept(["brand", "Colour_Score"])


def test_a_choice_outside_a_closed_vocabulary_is_told_at_the_start() -> None:
    taxonomy(COLOUR, MOTIF).check_against(Vocabulary("red", "orange", "yes", "no"), "m")
    with pytest.raises(RequestError) as caught:
        taxonomy(COLOUR).check_against(Vocabulary("red", "yes", "no"), "org/model", "my.yaml")
    assert str(caught.value) == (
        "my.yaml: attribute 'colour': model org/model cannot answer 'orange' (1 of 2 choices); map the choice to a"
        " word that it knows (choice: word), or use mode: yes_no"
    )
    with pytest.raises(RequestError, match="use a model that answers yes and no"):
        taxonomy(MOTIF).check_against(Vocabulary("a dog", "a cat", "a fish"), "m")
    with pytest.raises(
        RequestError, match=r"'orange' \(1 of 2 choices\); the nearest words it knows are 'orange red'; map"
    ):
        taxonomy(COLOUR).check_against(AnswerVocabulary(["red", "orange red"]), "m")
    mapped = {**COLOUR, "choices": {"red": "red", "orange": "amber"}}
    taxonomy(mapped).check_against(Vocabulary("red", "amber"), "m")

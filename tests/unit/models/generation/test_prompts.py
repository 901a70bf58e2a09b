"""Questions and earlier turns → prompts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.errors import RequestError
from vqa_ray.models.generation.prompts import STYLES, Prompting, cleaned, prompting

TURNS = [("What is it?", "a dog"), ("is it big?", " No. ")]


@pytest.mark.parametrize(
    ("style", "alone", "with_turns"),
    [
        (
            "question",
            "Question: Why? Answer:",
            "Question: What is it? Answer: a dog. Question: is it big? Answer: No. Question: Why? Answer:",
        ),
        (
            "lavis",
            "Question: why? Short answer:",
            "Question: what is it? Short answer: a dog. Question: is it big? Short answer: No. "
            "Question: why? Short answer:",
        ),
        ("plain", "Why?", "What is it? a dog. is it big? No. Why?"),
        ("Q{}A", "QWhy?A", "QWhat is it?A a dog. Qis it big?A No. QWhy?A"),
    ],
)
def test_turns_are_worded_as_the_question_is(style: str, alone: str, with_turns: str) -> None:
    assert prompting(style).text(" Why? ") == alone
    assert prompting(style).text("Why?", TURNS) == with_turns


def test_only_the_lavis_style_changes_the_question_and_the_search() -> None:
    lavis = STYLES["lavis"]
    assert (lavis.num_beams, lavis.max_new_tokens, lavis.length_penalty) == (5, 10, -1.0)
    assert lavis.text('The "Red" (one): #1; is* it~ so!') == "Question: the red one 1 is it so Short answer:"
    for name in ("question", "plain"):
        assert STYLES[name].num_beams is None
        assert 'The "Red"' in STYLES[name].text('The "Red"')


def test_a_question_in_braces_stays_as_it_is() -> None:
    assert Prompting("Q: {} A:").text("what is {} and {0}?") == "Q: what is {} and {0}? A:"


@pytest.mark.parametrize(("given", "times"), [("Question:", 0), ("{} or {}", 2), ("lavis2", 0), ("", 0)])
def test_a_template_holds_the_place_of_the_question_once(given: str, times: int) -> None:
    with pytest.raises(RequestError) as caught:
        prompting(given)
    assert str(caught.value) == (
        f"prompt template {given!r}: holds {{}} {times} times; wanted is a text that holds it once, where the question "
        "goes, or one of question, lavis, plain"
    )


@given(st.text(max_size=80))
def test_cleaning_takes_marks_and_nothing_else(text: str) -> None:
    expected = re.sub(r"[.!\"()*#:;~]", "", text.lower()).rstrip(" ")
    assert cleaned(text) == expected


def test_cleaning_keeps_fifty_words() -> None:
    assert cleaned("word " * 60) == " ".join(["word"] * 50)

"""Cards from output rows and truth."""

from __future__ import annotations

import pytest

from vqa_ray.report.card import Card, Line, ScoredText, answer_lines, failure, tag_lines
from vqa_ray.taxonomy.taxonomy import Taxonomy

TAXONOMY = Taxonomy.model_validate(
    {
        "attributes": [
            {"name": "colour", "question": "what colour?", "choices": ["red", "blue"]},
            {
                "name": "motif",
                "question": "is there {choice}?",
                "choices": ["dog", "cat"],
                "mode": "yes_no",
                "multi": True,
            },
        ]
    }
)


def test_lines_of_a_tagged_row() -> None:
    row = {"colour": "red", "colour_score": 0.9, "motif": ["dog", "cat"], "motif_score": [0.8, 0.6]}
    colour, motif = tag_lines(row, TAXONOMY, {"motif": {"dog"}})
    assert colour == Line("colour", (ScoredText("red", 0.9),))
    assert motif == Line("motif", (ScoredText("dog", 0.8), ScoredText("cat", 0.6)), "dog", False)
    nothing = {"colour": None, "colour_score": 0.1, "motif": [], "motif_score": []}
    colour, motif = tag_lines(nothing, TAXONOMY, {"colour": {"red"}, "motif": set()})
    assert (colour.values, colour.truth, colour.right) == ((), "red", False)
    assert (motif.truth, motif.right) == ("none", True)


def test_lines_of_answers() -> None:
    answers = [{"answer": each, "score": 0.5} for each in ("Two dogs", "cat", "fish", "car")]
    result = {"question": "what?", "answer": "Two dogs", "answer_score": 0.5, "answers": answers}
    (judged,) = answer_lines([result], {"what?": "2 dogs"})
    assert judged.right is True
    assert [each.text for each in judged.values] == ["Two dogs", "cat", "fish"]
    assert answer_lines([result], {"what else?": "x"})[0].right is None
    failed = {"question": "what?", "answer": None, "answer_score": None, "answers": None}
    assert answer_lines([failed], {"what?": "2"}) == (Line("what?", (), "2", False),)


@pytest.mark.parametrize(
    ("marks", "code", "status"),
    [
        ([None], None, "answered"),
        ([True, None], None, "right"),
        ([True, False], None, "wrong"),
        ([], "model_error", "error"),
        ([], None, "answered"),
    ],
)
def test_status_of_a_card(marks: list[bool | None], code: str | None, status: str) -> None:
    assert Card("a", lines=tuple(Line("q", right=mark) for mark in marks), error_code=code).status == status


def test_search_text_holds_all_words() -> None:
    card = Card(
        "Mug.JPG", tags=("colour:red",), lines=(Line("What?", (ScoredText("Cup"),), "Mug"),), error_message="Bad"
    )
    assert card.search_text == "mug.jpg colour:red what? cup mug bad"


def test_why_a_row_failed_or_what_it_lived_through() -> None:
    row = {"status": "error", "error_code": "model_error", "error_message": "no", "warning": None, "other": 1}
    assert failure(row) == {"error_code": "model_error", "error_message": "no", "warning": None}
    assert failure({"status": "ok", "error_code": None, "error_message": None, "warning": "cut"}) == {"warning": "cut"}


def test_bars_stay_within_their_width() -> None:
    assert [ScoredText("a", score).percent for score in (0.504, 1.5, -1.0, None)] == [50, 100, 0, 0]

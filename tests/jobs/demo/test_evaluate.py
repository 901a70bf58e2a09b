"""Results held to the truth: what counts as right, and that failures are not left out."""

from __future__ import annotations

from typing import Any

import pytest

from vqa_ray.jobs.demo.evaluate import demo_cards, display_order, error_counts, join_results, measures
from vqa_ray.jobs.demo.inputs import DOG_KIND, DOG_QUESTION
from vqa_ray.taxonomy.file import default_taxonomy

OK = {"status": "ok", "error_code": None, "error_message": None, "warning": None}
FAILED = {"status": "error", "error_code": "image_undecodable", "error_message": "bad", "warning": None}


def product(name: str, motif: str | None = None, damaged: bool = False) -> dict[str, Any]:
    row: dict[str, Any] = {"image_id": name, "questions": [DOG_QUESTION, "what is it?"]}
    truth = {
        "right_answers": ["yes" if motif == "dog" else "no", "mug"],
        "kinds": [DOG_KIND, "category"],
        "category": "mug",
        "colour": "red",
        "pattern": "plain",
        "motif": motif,
    }
    return row | (dict.fromkeys(truth) if damaged else truth)


def tagged(name: str, colour: str = "red", motif: tuple[str, ...] = ()) -> dict[str, Any]:
    single = {"category": "mug", "colour": colour, "pattern": "plain"}
    scores = {f"{key}_score": 0.9 for key in single}
    tags = [f"{key}:{value}" for key, value in single.items()] + [f"motif:{each}" for each in motif]
    several = {"motif": list(motif), "motif_score": [0.8] * len(motif), "tags": tags}
    return {"image_id": name, **single, **scores, **several, **OK}


def answered(name: str, dog: str = "no", what: str = "mug") -> dict[str, Any]:
    results = [
        {"question": question, "answer": answer, "answer_score": 0.7, "answers": [{"answer": answer, "score": 0.7}]}
        for question, answer in ((DOG_QUESTION, dog), ("what is it?", what))
    ]
    return {"image_id": name, "results": results, **OK}


def failed(name: str) -> dict[str, Any]:
    empty = {key: None for attribute in default_taxonomy().attributes for key in attribute.columns}
    return {"image_id": name, "tags": None, "results": None, **empty, **FAILED}


JUDGED = join_results(
    [product("a", "dog"), product("b"), product("c", "cat"), product("d", "dog"), product("e", damaged=True)],
    [
        failed("e"),
        tagged("a", motif=("dog",)),
        tagged("b", colour="blue"),
        tagged("c", motif=("cat", "dog")),
        failed("d"),
    ],
    [answered("a", dog="yes"), answered("b"), answered("c", dog="yes", what="cup"), failed("d"), failed("e")],
)


def test_measures_count_failures_of_sound_images_as_wrong_and_leave_damaged_ones_out() -> None:
    found = {each.name: (each.value, each.n) for each in measures(JUDGED, default_taxonomy())}
    assert found == {
        "tag: category": (0.75, 4),
        "tag: colour": (0.5, 4),
        "tag: pattern": (0.75, 4),
        "tag: motif": (0.5, 4),
        "answers: all": (0.5, 8),
        "answers: category": (0.5, 4),
        "is there a dog? accuracy": (0.5, 4),
        "is there a dog? F1": (pytest.approx(0.5), 4),
    }


def test_rows_of_questions_are_judged_as_nested_ones() -> None:
    nested = [answered("a", dog="yes"), failed("b")]
    rows = [{**row, "question_index": place} for place, row in enumerate(nested[0]["results"])]
    rows = [{"image_id": "a", **OK, **row} for row in reversed(rows)]
    rows += [{"image_id": "b", "question": None, "answers": None, "question_index": 0, **FAILED}]
    others = [product("a", "dog"), product("b")], [tagged("a"), tagged("b")]
    for judged in (join_results(*others, nested), join_results(*others, rows)):
        assert [len(each.judged_answers()) for each in judged] == [2, 2]
        assert [each.answer for each in judged[0].judged_answers()] == ["yes", "mug"]
        assert error_counts(judged) == {"image_undecodable": 1}


def test_errors_are_counted_and_shown_after_a_few_good_cards() -> None:
    assert error_counts(JUDGED) == {"image_undecodable": 2}
    names = [each.product["image_id"] for each in display_order(JUDGED)]
    assert names == ["a", "b", "c", "d", "e"]
    many = join_results(
        [product(str(number)) for number in range(20)],
        [failed("9") if number == 9 else tagged(str(number)) for number in range(20)],
        [answered(str(number)) for number in range(20)],
    )
    assert [each.product["image_id"] for each in display_order(many)][7:10] == ["7", "9", "8"]


def test_cards_tell_what_is_right() -> None:
    shown = {card.title: card for card in demo_cards(JUDGED, {"a": b"image"}, default_taxonomy())}
    assert [card.status for card in shown.values()] == ["right", "wrong", "wrong", "error", "error"]
    assert shown["a"].image == b"image"
    assert "motif:dog" in shown["a"].tags
    assert [(line.label, line.truth) for line in shown["c"].lines if line.right is False] == [
        ("motif", "cat"),
        (DOG_QUESTION, "no"),
        ("what is it?", "mug"),
    ]
    assert (shown["e"].error_code, shown["e"].error_message, shown["e"].lines) == ("image_undecodable", "bad", ())

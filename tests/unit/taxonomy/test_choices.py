"""Choices that are more than words: synonyms, choices below others, choices that stand for none of the others."""

from __future__ import annotations

from typing import Any

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.taxonomy.attribute import ClosedQuestion
from vqa_ray.taxonomy.file import parse_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy

CATEGORY = {
    "name": "category",
    "question": "what is it?",
    "choices": {
        "clothing": {
            "question": "what kind?",
            "children": {"dress": "a dress", "top": ["shirt", "blouse"]},
        },
        "sofa": ["sofa", "couch"],
        "other": {"below": 0.3},
        "nothing": {"below": 0.1},
    },
    "threshold": 0.4,
}


def taxonomy(*attributes: dict[str, Any]) -> Taxonomy:
    return Taxonomy.model_validate({"attributes": list(attributes)})


def test_each_level_is_a_question_and_its_synonyms_are_its_answers() -> None:
    assert taxonomy(CATEGORY).questions() == [
        ClosedQuestion("what is it?", ("clothing", "sofa", "couch")),
        ClosedQuestion("what kind?", ("a dress", "shirt", "blouse")),
    ]


@pytest.mark.parametrize(
    ("scores", "path", "score"),
    [
        ([(0.9, 0.1, 0.1), (0.2, 0.1, 0.8)], ["clothing", "top"], 0.8),
        ([(0.9, 0.1, 0.1), (0.2, 0.1, 0.3)], ["clothing"], 0.9),
        ([(0.5, 0.1, 0.6), (0.2, 0.1, 0.8)], ["sofa"], 0.6),
        ([(0.35, 0.1, 0.3), (0.0, 0.0, 0.8)], None, 0.35),
        ([(0.2, 0.1, 0.1), (0.9, 0.9, 0.9)], ["other"], 0.8),
        ([(0.05, 0.0, 0.0), (0.9, 0.9, 0.9)], ["nothing"], 0.95),
    ],
)
def test_the_best_choice_of_each_level_is_a_step_of_the_path(scores: Any, path: list[str] | None, score: float) -> None:
    tags = taxonomy(CATEGORY).tags(scores)
    assert tags.columns == {
        "category": path and path[-1],
        "category_score": pytest.approx(score),
        "category_path": path,
    }
    assert tags.tags == tuple(f"category:{name}" for name in path or ())


def test_a_choice_for_none_of_the_others_in_a_list() -> None:
    motif = {"name": "motif", "question": "{choice}?", "mode": "yes_no", "multi": True}
    read = taxonomy({**motif, "choices": {"dog": "a dog", "cat": "a cat", "none of these": {"below": 0.5}}})
    assert read.tags([(0.1, 0.9), (0.3, 0.7)]).columns == {
        "motif": ["none of these"],
        "motif_score": [pytest.approx(0.7)],
    }
    assert read.tags([(0.1, 0.9), (0.9, 0.1)]).columns["motif"] == ["cat"]


def test_a_condition_may_name_a_choice_on_the_path() -> None:
    sleeve = {"name": "sleeve", "question": "how long?", "choices": ["long", "short"], "when": "category = clothing"}
    read = taxonomy(CATEGORY, sleeve)
    assert read.output_schema().names[5:11] == [
        *("category", "category_score", "category_path"),
        *("sleeve", "sleeve_score", "sleeve_reason"),
    ]
    asked = read.tags([(0.9, 0, 0), (0, 0.5, 0), (0.7, 0.2)])
    assert (asked.columns["sleeve"], asked.columns["sleeve_reason"]) == ("long", None)
    left_out = read.tags([(0.1, 0.8, 0), (0, 0.5, 0), (0.7, 0.2)])
    assert [left_out.columns[f"sleeve{end}"] for end in ("", "_score", "_reason")] == [None, None, "not_asked"]
    assert "sleeve" not in left_out.scores


def test_only_what_applies_is_open() -> None:
    sleeve = {"name": "sleeve", "question": "how long?", "choices": ["long"], "when": "category = clothing"}
    read = taxonomy(sleeve, CATEGORY)
    opened = lambda scores: [(level.attribute, level.parent) for level in read.given(scores).open]  # noqa: E731
    assert opened({}) == [("category", None)]
    assert opened({"category": [("clothing", 0.9), ("sofa", 0.1)]}) == [("category", "clothing")]
    whole = [("clothing", 0.9), ("sofa", 0.1), ("dress", 0.6), ("top", 0.1)]
    assert opened({"category": whole}) == [("sleeve", None)]
    assert opened({"category": [("clothing", 0.1), ("sofa", 0.9)]}) == []


def test_fingerprint_changes_with_the_new_options_too() -> None:
    flat = {"name": "a", "question": "q", "choices": ["x", "y"]}
    other = {"name": "b", "question": "q", "choices": ["x", "y"]}
    changed: list[dict[str, Any]] = [
        {**flat, "choices": {"x": ["x", "w"], "y": "y"}},
        {**flat, "choices": {"x": {"children": ["w"]}, "y": "y"}},
        {**flat, "choices": {"x": "x", "y": "y", "z": {"below": 0.5}}},
        {**flat, "when": "b = x"},
        {**flat, "model": "fake:"},
        {**flat, "shortlist": {"model": "fake:", "k": 1}},
        {**flat, "shortlist": {"model": "fake:", "k": 2}},
    ]
    assert len({taxonomy(each, other).fingerprint for each in (flat, *changed)}) == len(changed) + 1
    assert taxonomy({**flat, "choices": {"x": ["x"], "y": {"phrases": "y"}}}).fingerprint == taxonomy(flat).fingerprint


def attribute(choices: str, extra: str = "") -> str:
    return f"attributes:\n  - {{name: a, question: q, choices: {choices}{extra}}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            attribute("{x: {children: [y, z]}, w: {children: [y]}}"),
            "choices: 'y' stands in two branches, below 'x' and below 'w'; a choice has one place; got",
        ),
        (attribute("{x: [x, y], y: y}"), "choices: 'y' occurs more than once; got"),
        (
            attribute("{x: {childern: [y]}}"),
            "choices: choice 'x': unknown key 'childern', did you mean 'children'",
        ),
        (
            attribute("{x: {below: 1.5}}"),
            "choices: choice 'x': below: a number above 0, at most 1, is needed; got",
        ),
        (attribute("{x: {below: 0.5, phrases: y}}"), "choices: choice 'x': 'below' stands alone: no question is asked"),
        (attribute("{x: {below: 0.5}}"), "choices: at least one choice without 'below' is needed, which the model is"),
        (attribute("{x: " + "{children: {x: " * 33 + "y" + "}}" * 33 + "}"), "choices: choices below choices: more"),
        (attribute("{x: , y: y}"), "choices: choice 'x': the phrase that the model reads is missing; got"),
        (attribute("{x: [], y: y}"), "choices: choice 'x': the phrase that the model reads is missing; got"),
        (attribute("{x: {children: []}}"), "choices: choice 'x': children: a non-empty list or mapping of choices is"),
        (attribute("{x: {question: q}}"), "choices: choice 'x': question: a text, beside children, is needed; got 'q'"),
        (attribute("{x: {children: [y]}}", ", multi: true"), "children: an attribute with multi: true has no choices"),
        (
            attribute("{x: {children: [y], question: '{choice}?'}}"),
            "question: {choice} needs mode: yes_no",
        ),
        (
            attribute("[x, y]", ", shortlist: {model: m, k: 3}"),
            "shortlist: k is 3; it is at most the number of",
        ),
        (attribute("[x, y]", ", shortlist: {k: 1}"), "shortlist: key 'model' is missing; needed are model"),
        (
            attribute("[x, y]", ", shortlist: {modell: m}"),
            "shortlist: unknown key 'modell', did you mean 'model'; known are model, k, template (and 1 more)",
        ),
        (
            attribute("[x, y]", ", shortlist: {model: m, k: 1, template: a}"),
            "shortlist: template: needs {choice}",
        ),
        (attribute("{x: x, o: {below: 1}}", ", thresholds: {o: 0.1}"), "thresholds: 'o' is not one of the choices"),
    ],
)
def test_a_wrong_choice_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_taxonomy(text, "t.yaml")
    assert str(caught.value).startswith(f"t.yaml: attribute 'a': {message}")
    assert "\n" not in str(caught.value)

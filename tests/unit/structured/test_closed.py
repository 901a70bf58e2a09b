"""A model that only scores choices fills the closed fields of an object."""

from __future__ import annotations

import math
from typing import Any

import pytest

from vqa_ray.errors import RequestError, RowError
from vqa_ray.structured.closed import ClosedObject
from vqa_ray.structured.parse import parse_schema


def closed(**properties: Any) -> ClosedObject:
    document = {"type": "object", "properties": properties, "required": list(properties)}
    return ClosedObject.of(parse_schema(document, "s.json"), "model tiny: vilt", "s.json")


def test_each_field_is_a_closed_question() -> None:
    size = {"type": "object", "properties": {"unit": {"enum": ["cm", "in"]}}}
    fields = closed(
        main_colour={"enum": ["red", "blue"]},
        category={
            "oneOf": [{"const": "t-shirt", "title": "tee shirt"}, {"const": "mug"}],
            "description": "what is it?",
        },
        new={"type": "boolean"},
        sold={"type": "boolean", "description": "does it have a price tag?"},
        motifs={"type": "array", "items": {"enum": ["cat", "dog"]}, "description": "is there a {choice} on it?"},
        size=size,
        pieces={"enum": [1, 2]},
    )
    assert [(each.question, each.choices) for each in fields.questions] == [
        ("what is the main colour?", ("red", "blue")),
        ("what is it?", ("tee shirt", "mug")),
        ("is it new?", ("yes", "no")),
        ("does it have a price tag?", ("yes", "no")),
        ("is there a cat on it?", ("yes", "no")),
        ("is there a dog on it?", ("yes", "no")),
        ("what is the unit of the size?", ("cm", "in")),
        ("what is the pieces?", ("1", "2")),
    ]


def test_values_follow_from_the_scores() -> None:
    fields = closed(
        colour={"enum": ["red", "blue"]},
        new={"type": "boolean"},
        motifs={"type": "array", "items": {"enum": ["cat", "dog", "fish"]}},
    )
    found = fields.fill([(0.2, 0.6), (0.1, 0.3), (0.6, 0.2), (0.1, 0.3), (0.9, 0.1)])
    assert found.values == {"colour": "blue", "new": False, "motifs": ["fish", "cat"]}
    assert found.scores == {
        "colour": pytest.approx(0.75),
        "new": pytest.approx(0.75),
        "motifs": pytest.approx([0.9, 0.75]),
    }
    assert found.text == '{"colour":"blue","new":false,"motifs":["fish","cat"]}'


@pytest.mark.parametrize(
    ("limits", "expected"), [({"minItems": 2}, ["b", "a"]), ({"maxItems": 1}, ["b"]), ({"maxItems": 0}, [])]
)
def test_an_array_is_as_long_as_it_may_be(limits: dict[str, int], expected: list[str]) -> None:
    fields = closed(tags={"type": "array", "items": {"enum": ["a", "b"]}, **limits})
    assert fields.fill([(0.2, 0.8), (0.9, 0.1)]).values == {"tags": expected}


def test_a_score_that_is_no_number_is_an_error() -> None:
    with pytest.raises(RowError, match="model_error: the model gave a score that is not a number"):
        closed(new={"type": "boolean"}).fill([(math.nan, 0.5)])


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "string"}, "a"),
        ({"type": "integer"}, "a"),
        ({"type": "array", "items": {"type": "string"}}, "a[]"),
        ({"type": "object", "properties": {"b": {"type": "number"}}}, "a.b"),
    ],
)
def test_a_free_field_is_refused_by_name(part: dict[str, Any], path: str) -> None:
    with pytest.raises(RequestError) as refused:
        closed(a=part)
    assert str(refused.value) == (
        f"s.json: field {path!r}: model tiny: vilt chooses among given values and writes none; wanted an enum or a "
        "boolean, or a model that writes"
    )


def test_an_array_longer_than_its_choices_is_refused() -> None:
    with pytest.raises(RequestError, match=r"field 'a': minItems 3: .* gives each of the 2 values of the enum once"):
        closed(a={"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 3})


def test_choices_outside_the_vocabulary_are_refused() -> None:
    class Vocabulary:
        def known_choices(self, choices: Any) -> list[bool]:
            return [choice != "mauve" for choice in choices]

    with pytest.raises(RequestError, match=r"'what is the colour\?': model tiny cannot answer 'mauve'"):
        closed(colour={"enum": ["red", "mauve"]}).check_against(Vocabulary(), "model tiny", "s.json")

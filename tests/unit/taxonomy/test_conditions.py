"""Conditions of attributes: what they say, in which order attributes are decided, and what cannot be."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.errors import RequestError
from vqa_ray.taxonomy.condition import Condition
from vqa_ray.taxonomy.file import parse_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy


@pytest.mark.parametrize(
    ("text", "given", "holds"),
    [
        ("category = dress", {"category": {"dress"}}, True),
        ("category == 'dress'", {"category": {"shirt"}}, False),
        ("category != dress", {"category": set()}, True),
        ("category in [dress, t-shirt]", {"category": {"clothing", "t-shirt"}}, True),
        ("category not in [dress, t-shirt]", {"category": {"t-shirt"}}, False),
        ('category in [dress] and colour != "dark red"', {"category": {"dress"}, "colour": {"dark red"}}, False),
        ("category = dress and colour = red", {"category": {"mug"}}, False),
        ("category = dress or colour = red", {"colour": {"red"}}, True),
        ("category = dress and colour = red", {"category": {"dress"}}, None),
        ("not (category = dress or size = 42)", {"category": {"mug"}, "size": set()}, True),
    ],
)
def test_a_condition_is_decided_as_soon_as_it_can_be(text: str, given: dict[str, set[str]], holds: bool | None) -> None:
    assert Condition.parse(text).holds({name: frozenset(has) for name, has in given.items()}) is holds


def taxonomy(**conditions: str) -> str:
    lines = [
        f"  - {{name: {name}, question: q, choices: [x, y, z]{f', when: {when!r}' if when else ''}}}"
        for name, when in conditions.items()
    ]
    return "\n".join(["attributes:", *lines])


def test_attributes_are_decided_after_those_that_their_conditions_name() -> None:
    read = parse_taxonomy(taxonomy(a="b = x and c = y", b="c = x or c = y", c="", d="a in [x]"), "t.yaml")
    assert [each.name for each in read.ordered] == ["c", "b", "a", "d"]
    assert [each.name for each in read.attributes] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (taxonomy(a="colour = red", b=""), "attribute 'a': when: no attribute 'colour'; known are a, b"),
        (
            taxonomy(category="", b="categorie = x"),
            "attribute 'b': when: no attribute 'categorie', did you mean 'category'",
        ),
        (taxonomy(a="", b="a = w"), "attribute 'b': when: attribute 'a' has no choice 'w'; known are x, y, z"),
        (taxonomy(a="b = x", b="c = x", c="a = x"), "attribute 'a': when: a circle of conditions: a → b → c → a"),
        (taxonomy(a="a = x"), "attribute 'a': when: a circle of conditions: a → a"),
        (taxonomy(a="", b="a = x and a = y"), "attribute 'b': when: 'a = x and a = y' is never true"),
        (taxonomy(a="", b="a = x", c="b = y and a = z"), "attribute 'c': when: 'b = y and a = z' is never true"),
        (
            taxonomy(a="", b="a ="),
            "attribute 'b': when: wanted a choice, found the end, at character 4 of 'a ='; got 'a ='",
        ),
        (
            taxonomy(a="", b="a in x"),
            "attribute 'b': when: wanted choices in [ ], found `x`, at character 6 of 'a in x'; got 'a in x'",
        ),
        (
            taxonomy(a="", b="a in [x, dark red]"),
            "attribute 'b': when: a choice of several words stands in quotes: \"dark red\", at character 15 of"
            " 'a in [x, dark red]'; got 'a in [x, dark red]'",
        ),
    ],
)
def test_a_condition_that_cannot_be_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_taxonomy(text, "t.yaml")
    assert str(caught.value) == f"t.yaml: {message}"


def test_an_attribute_with_several_values_may_have_both() -> None:
    Taxonomy.model_validate(
        {
            "attributes": [
                {"name": "a", "question": "q", "choices": ["x", "y"], "multi": True},
                {"name": "b", "question": "q", "choices": ["x"], "when": "a = x and a = y"},
            ]
        }
    )


@given(st.text("ab=!()[],\"' inotd", max_size=20))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(RequestError):
        Condition.parse(text)

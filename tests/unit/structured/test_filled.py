"""An object that was written is checked, and each of its values scored."""

from __future__ import annotations

import math
from typing import Any

import pytest

from vqa_ray.errors import RowError
from vqa_ray.structured import limits
from vqa_ray.structured.filled import read_object
from vqa_ray.structured.grammar import check_grammar
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.structured.parse import parse_schema
from vqa_ray.types import WrittenObject


def schema(required: tuple[str, ...] | None = None, **properties: Any) -> ObjectSchema:
    document = {"type": "object", "properties": properties}
    return parse_schema({**document, "required": list(properties if required is None else required)}, "s.json")


def written(*tokens: tuple[str, float]) -> WrittenObject:
    texts = [text for text, _ in tokens]
    return WrittenObject(
        "".join(texts), tuple(text.encode() for text in texts), tuple(math.log(p) for _, p in tokens), "stop"
    )


def plain(text: str) -> WrittenObject:
    return WrittenObject(text, (), None, "stop")


def test_a_closed_value_scores_the_product_and_a_free_one_the_mean_of_its_tokens() -> None:
    fields = schema(colour={"enum": ["red", "blue"]}, name={"type": "string"}, new={"type": "boolean"})
    found = read_object(
        fields,
        written(
            *(('{"colour": "', 1.0), ("re", 0.5), ('d"', 0.8), (', "name": "', 1.0), ("Öl", 0.25), ('", ', 0.64)),
            *(('"new": ', 1.0), ("true", 0.9), ("}", 1.0)),
        ),
    )
    assert found.values == {"colour": "red", "name": "Öl", "new": True}
    assert found.scores["colour"] == pytest.approx(0.5 * 0.8)
    # Its opening quote, its text, its closing quote.
    assert found.scores["name"] == pytest.approx((1.0 * 0.25 * 0.64) ** (1 / 3))
    assert found.scores["new"] == pytest.approx(0.9)


def test_the_token_that_ends_a_number_counts() -> None:
    found = read_object(schema(n={"enum": [1, 12]}), written(('{"n": ', 1.0), ("1", 1.0), ("}", 0.3)))
    assert found.scores["n"] == pytest.approx(0.3)


def test_arrays_and_objects_have_scores_of_their_shape() -> None:
    size = {"type": "object", "properties": {"w": {"type": "integer"}}, "required": ["w"]}
    fields = schema(tags={"type": "array", "items": {"enum": ["a", "b"]}}, size=size)
    found = read_object(
        fields,
        written(
            *(('{"tags": ["', 1.0), ("a", 0.5), ('", "', 0.5), ("b", 0.25), ('"], ', 1.0)),
            *(('"size": {"w": ', 1.0), ("7", 0.5), ("}}", 0.5)),
        ),
    )
    assert found.values == {"tags": ["a", "b"], "size": {"w": 7}}
    assert found.scores["tags"] == pytest.approx([0.25, 0.125])
    assert found.scores["size"]["w"] == pytest.approx(0.5)


def test_null_stands_for_a_field_that_is_left_out() -> None:
    fields = schema((), name={"type": "string"}, size={"type": "array", "items": {"type": "integer"}})
    found = read_object(fields, written(('{"name": ', 1.0), ("null", 0.5), (', "size": ', 1.0), ("null}", 1.0)))
    assert found.values == {"name": None, "size": None}
    assert found.scores == {"name": pytest.approx(0.5), "size": None}
    assert found.text == "{}"


@pytest.mark.parametrize(
    ("tokens", "value"),
    [
        ((('{"name', 1.0), ('":', 0.6), ("null", 0.9), ("}", 1.0)), None),
        ((('{"name', 1.0), ('":"', 0.6), ("a", 0.9), ('"}', 1.0)), "a"),
    ],
)
def test_the_token_that_decides_between_null_and_text_counts(tokens: Any, value: str | None) -> None:
    """Without a space, the mark of a text is part of the token in front: `":"` or `":`."""
    found = read_object(schema((), name={"enum": ["a", "b"]}), written(*tokens))
    assert found.values == {"name": value}
    assert found.scores["name"] == pytest.approx(0.6 * 0.9)


def test_without_log_probabilities_the_scores_are_unknown() -> None:
    found = read_object(schema(n={"type": "integer"}), plain('{ "n" : 3 }\n'))
    assert (found.values, found.scores, found.text) == ({"n": 3}, {"n": None}, '{"n":3}')


def test_an_object_that_was_cut_is_an_error_with_the_text_so_far() -> None:
    with pytest.raises(RowError, match=r'schema_unfinished: the object was not complete after .*: {"n": 3'):
        read_object(schema(n={"type": "integer"}), WrittenObject('{"n": 3', (), None, "length"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wanted '{' at character 1"),
        ("Sure! {}", "wanted '{' at character 1"),
        ('{"n": 3} and', "text stands behind the object"),
        ('{"n": 3', "wanted '}' at character 8"),
        ("{}", "n: is missing"),
        ('{"n": 3, "n": 3}', "n: is no field of the schema, or stands there twice"),
        ('{"n": 3, "m": 3}', "m: is no field"),
        ('{"n": "3"}', "n: is no integer"),
        ('{"n": true}', "n: is no integer"),
        ('{"n": null}', "n: is no integer"),
        ('{"n": {"a": 1}}', "n: is no integer"),
        ('{"n": 11}', "n: 11 does not keep to maximum 10"),
        ('{"n": 1e400}', "n: is no integer"),
        ('{"n": ', "Expecting value"),
        ('{["n"]: 3}', "['n']: is no field"),
        ('{{"n": 1}: 3}', "{'n': 1}: is no field"),
        ('{"n": -1' + "0" * 400 + "}", "n: is larger than 64 bits hold"),
    ],
)
def test_what_an_endpoint_may_write_instead_is_an_error(text: str, message: str) -> None:
    fields = schema(n={"type": "integer", "maximum": 10})
    with pytest.raises(RowError, match="schema_violated: ") as refused:
        read_object(fields, plain(text))
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ({"enum": ["a"]}, '"b"'),
        ({"type": "string", "pattern": "^a$"}, '"b"'),
        ({"type": "string", "pattern": "^(a+)+$"}, f'"{"a" * 40}!"'),
        ({"type": "string", "maxLength": 1}, '"bb"'),
        ({"type": "string"}, r'"\ud800"'),
        ({"type": "number"}, "NaN"),
        ({"type": "integer"}, str(2**63)),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, "[]"),
        ({"type": "array", "items": {"enum": ["a"]}}, '["a", "b"]'),
        ({"type": "array", "items": {"type": "boolean"}}, "[true"),
    ],
)
def test_a_value_that_is_not_valid_is_an_error(part: dict[str, Any], value: str) -> None:
    with pytest.raises(RowError, match="schema_violated"):
        read_object(schema(a=part), plain(f'{{"a": {value}}}'))


def test_a_pattern_that_does_not_end_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are Fibonacci's 61st number of ways to cut sixty letters into ones and pairs."""
    monkeypatch.setattr(limits, "_PATTERN_S", 0.05)
    with pytest.raises(RowError, match=r"schema_violated: a: .* does not keep to pattern"):
        read_object(schema(a={"type": "string", "pattern": "^(a|aa)+$"}), plain(f'{{"a": "{"a" * 60}!"}}'))


def test_a_number_larger_than_its_column_is_an_error() -> None:
    with pytest.raises(RowError, match="schema_violated: n: is larger than a number of 64 bits holds"):
        read_object(schema(n={"type": "number"}), plain('{"n": 1' + "0" * 400 + "}"))


def test_classes_of_unicode_are_read() -> None:
    fields = schema(name={"type": "string", "pattern": r"^\p{L}+$"})
    check_grammar(fields, "s.json")
    assert read_object(fields, plain('{"name": "Öl"}')).values == {"name": "Öl"}
    with pytest.raises(RowError, match="does not keep to pattern"):
        read_object(fields, plain('{"name": "7"}'))

"""A JSON Schema becomes fields and columns; what is not supported is refused by name."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.hostile_schemas import hostile_schema
from vqa_ray.errors import RequestError
from vqa_ray.structured.grammar import check_grammar
from vqa_ray.structured.parse import parse_schema
from vqa_ray.structured.prompt import object_prompt

PRODUCT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Product",
    "description": "The product.",
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "blue"], "description": "main\n colour"},
        "pieces": {"type": "integer", "minimum": 0, "maximum": 12},
        "code": {"type": "string", "pattern": "^[A-Z]{2}$"},
        "size": {"$ref": "#/$defs/Size"},
        "labels": {"type": "array", "items": {"enum": ["new", "sale"]}, "maxItems": 2},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        "used": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["colour", "pieces", "size", "labels", "parts", "used"],
    "$defs": {
        "Size": {"type": "object", "properties": {"width": {"type": "number"}, "unit": {"enum": ["cm", "in"]}}},
        "Part": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def doubling(levels: int) -> dict[str, Any]:
    """A schema of which each level names the next one twice."""
    inner = {f"L{n}": of(a={"$ref": f"#/$defs/L{n + 1}"}, b={"$ref": f"#/$defs/L{n + 1}"}) for n in range(levels)}
    return of(a={"$ref": "#/$defs/L0"}) | {"$defs": inner | {f"L{levels}": {"type": "string"}}}


def test_fields_become_typed_columns_with_scores_of_their_shape() -> None:
    form = parse_schema(PRODUCT, "product.json").form
    size, parts = pa.struct([("width", pa.float64()), ("unit", pa.string())]), pa.struct([("name", pa.string())])
    assert {field.name: field.type for field in form if field.name in PRODUCT["properties"]} == {  # type: ignore[operator]
        "colour": pa.string(),
        "pieces": pa.int64(),
        "code": pa.string(),
        "size": size,
        "labels": pa.list_(pa.string()),
        "parts": pa.list_(parts),
        "used": pa.bool_(),
    }
    assert form.field("pieces_score").type == pa.float32()
    assert form.field("size_score").type == pa.struct([("width", pa.float32()), ("unit", pa.float32())])
    assert form.field("labels_score").type == pa.list_(pa.float32())
    assert form.names[:3] == ["row_id", "image_id", "image_uri"]
    assert form.names[-8:] == [
        *("object_json", "finish_reason", "status", "error_code", "error_message", "warning", "attempt", "source_key"),
    ]


def test_a_model_is_held_to_all_fields_with_null_for_those_that_may_be_left_out() -> None:
    wire = parse_schema(PRODUCT, "product.json").wire
    assert wire["required"] == list(wire["properties"])
    assert wire["additionalProperties"] is False
    assert wire["properties"]["code"]["anyOf"][1] == {"type": "null"}
    assert wire["properties"]["colour"] == {"type": "string", "enum": ["red", "blue"], "description": "main colour"}


def test_numbers_without_a_bound_get_one_of_few_digits() -> None:
    schema = of(a={"type": "integer"}, b={"type": "number", "exclusiveMinimum": 0}, c={"type": "integer", "maximum": 9})
    assert parse_schema(schema, "s.json").wire["properties"] == {
        "a": {"type": "integer", "minimum": -(10**15), "maximum": 10**15},
        "b": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e15},
        "c": {"type": "integer", "minimum": -(10**15), "maximum": 9},
    }


def test_the_prompt_names_every_field() -> None:
    assert object_prompt(parse_schema(PRODUCT, "product.json")).splitlines() == [
        "The product.",
        "Answer with a JSON object of these fields:",
        '- colour (one of "red", "blue"): main colour',
        "- pieces (whole number, at least 0, at most 12)",
        "- code (text, matching ^[A-Z]{2}$, or null)",
        "- size (object)",
        "  - width (number, or null)",
        '  - unit (one of "cm", "in", or null)',
        '- labels (list, each one of "new", "sale", at most 2)',
        "- parts (list, each object)",
        "  - name (text)",
        "- used (true or false, or null)",
    ]


@pytest.mark.parametrize("seed", range(40))
def test_hostile_schemas_are_taken(seed: int) -> None:
    schema = parse_schema(hostile_schema(seed), "hostile.json")
    check_grammar(schema, "hostile.json")
    assert schema.fingerprint == parse_schema(hostile_schema(seed), "other.json").fingerprint


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (["a"], "s.json: wanted the JSON Schema of an object, got ['a']"),
        ({"type": "array"}, "s.json: wanted the schema of an object, type: object, got type 'array'"),
        ({"type": "object", "properties": {}}, "s.json: an object needs at least one field: properties"),
        (
            of(a={"type": "string", "patern": "x"}),
            "s.json: field 'a': keyword 'patern' is not supported; did you mean 'pattern'?",
        ),
        (of(a={"$ref": "#"}), "s.json: field 'a.a': $ref '#' is recursive"),
        (
            of(a={"$ref": "https://example.org/s.json"}),
            "s.json: field 'a': $ref 'https://example.org/s.json' leads out of the schema; wanted one within it: "
            "#/$defs/Name",
        ),
        (of(a={"$ref": "#/$defs/B"}), "s.json: field 'a': $ref '#/$defs/B' names nothing in the schema"),
        (doubling(14), "s.json: has more than 10000 parts"),
        (
            of(status={"type": "string"}),
            "s.json: field 'status': the output has a column 'status' of its own; rename the field",
        ),
        (
            of(a={"type": "string"}, A_score={"type": "string"}),
            "s.json: field 'A_score': column 'A_score' is made by field 'a' already; rename one of them",
        ),
        (of(a={"enum": []}), "s.json: field 'a': enum []: wanted a list with at least one value"),
        (
            of(a={"enum": [1, "x"]}),
            "s.json: field 'a': enum [1, 'x']: wanted texts, finite numbers or booleans, all alike",
        ),
        (of(a={"enum": ["x\ud800"]}), "s.json: a text holds half of a surrogate pair: "),
        (
            of(a={"oneOf": [{"const": "x", "title": 7}, {"const": "y"}]}),
            "s.json: field 'a': title 7: wanted text, which is read in place of the value",
        ),
        (of(a={"enum": ["x", "x"]}), "s.json: field 'a': enum: 'x' occurs more than once"),
        (
            of(a={"type": "integer", "minimum": 4, "maximum": 3}),
            "s.json: field 'a': no value is at least 4 and at most 3",
        ),
        (
            of(a={"type": "string", "pattern": "a["}),
            "s.json: field 'a': pattern 'a[' is no regular expression: unterminated character set at position 2",
        ),
        (
            of(a={"type": "string", "pattern": "a{99999999999999}"}),
            "s.json: field 'a': pattern 'a{99999999999999}' is no regular expression: repeat count too big",
        ),
        (
            of(a={"type": "string", "pattern": "(" * 3000 + ")" * 3000}),
            f"s.json: field 'a': pattern '{'(' * 78}… is no regular expression: maximum recursion depth exceeded",
        ),
        (
            of(a={"type": "string", "pattern": "[[:foo:]]"}),
            "s.json: field 'a': pattern '[[:foo:]]' is no regular expression: unknown property at position 8",
        ),
        (
            of(a={"type": "string", "pattern": "(?=b)a"}),
            "s.json: field 'a': no value can be written: pattern (?=b)a: look-around, including look-ahead and "
            "look-behind, is not supported",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "^abc$", "maxLength": 2}}},
            "s.json: field 'a': no value can be written: pattern ^abc$, maxLength 2: Unsatisfiable schema",
        ),
        (
            of(a={"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 5}),
            "s.json: field 'a': no value can be written: exclusiveMinimum 4, exclusiveMaximum 5: Unsatisfiable schema",
        ),
        (
            {"type": "object", "properties": {"a b": {"type": "string"}}},
            "s.json: field 'a b': its name is that of a column: letters, digits, _ and -, not a digit first",
        ),
        (of(a=of(b=of(c={"type": "string"}))), "s.json: field 'a.b': objects are nested deeper than 2 levels"),
        (
            of(a={"anyOf": [{"type": "string"}, {"type": "integer"}]}),
            "s.json: field 'a': anyOf is supported for one schema or null, and for constants with titles",
        ),
        (
            of(a={"type": "array", "items": {"type": "array", "items": {"type": "string"}}}),
            "s.json: field 'a': an array of arrays is not supported; wanted items of a plain type, or objects",
        ),
        (
            of(a={"type": "boolean", "minimum": 1}),
            "s.json: field 'a': keyword 'minimum' does not go with type 'boolean'",
        ),
        ({**of(a={"type": "string"}), "required": ["b"]}, "s.json: required 'b' is not one of the fields"),
        ({**of(a={"type": "string"}), "required": [["a"]]}, "s.json: required ['a'] is not one of the fields"),
        ({**of(a={"type": "string"}), "required": "a"}, "s.json: required 'a': wanted a list of names of fields"),
        (of(a={"type": "integer", "maximum": 10**400}), "s.json: field 'a': maximum of 401 digits: a whole number"),
        (of(a={"type": "integer", "minimum": 10**19}), "s.json: field 'a': minimum of 20 digits: a whole number"),
        (of(a={"type": "integer", "maximum": 1e19}), "s.json: field 'a': maximum 1e+19: an integer is held in 64 bits"),
        (of(a={"type": "integer", "maximum": float("inf")}), "s.json: field 'a': maximum inf: wanted a number"),
        (of(a=True), "s.json: field 'a': wanted a JSON Schema, a mapping, got True"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(document: object, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        check_grammar(parse_schema(document, "s.json"), "s.json")
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_without_llguidance_a_model_that_writes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(RequestError, match=r"--schema: .* needs llguidance .*; install vqa-ray\[schema\]"):
        check_grammar(parse_schema(PRODUCT, "product.json"), "product.json")

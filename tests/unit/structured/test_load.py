"""A schema is read from JSON, YAML, a taxonomy or a pydantic model; a taxonomy from a schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.structured.conversion import schema_of_taxonomy, taxonomy_of_schema
from vqa_ray.structured.load import load_schema
from vqa_ray.taxonomy.file import default_taxonomy, parse_taxonomy

TAGS = """
attributes:
  - {name: category, question: "what is it?", choices: {t-shirt: tee shirt, mug: mug}}
  - {name: colour, question: "what colour is it?", choices: [red, blue]}
  - {name: motif, question: "is there a {choice} on it?", choices: [cat, dog], mode: yes_no, multi: true}
"""
MODELS = """
from enum import Enum
from typing import Literal, Optional
from pydantic import BaseModel, Field

class Colour(Enum):
    RED = "red"
    BLUE = "blue"

class Size(BaseModel):
    width: float = Field(gt=0, le=500)

class Product(BaseModel):
    '''What is sold.'''
    colour: Colour = Field(description="main colour")
    kind: Literal["mug", "lamp"]
    size: Optional[Size] = None
    labels: list[Literal["new", "sale"]] = []

class Node(BaseModel):
    child: Optional["Node"] = None

other = 3
"""


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    document = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    (tmp_path / "s.json").write_text(json.dumps(document))
    (tmp_path / "s.yaml").write_text("type: object\nproperties:\n  a: {enum: [x, y]}\nrequired: [a]\n")
    found = [load_schema(str(tmp_path / name)) for name in ("s.json", "s.yaml")]
    assert found[0] == found[1]
    assert found[0].fingerprint == found[1].fingerprint


def test_a_pydantic_model_is_a_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "shop_models", raising=False)
    paths = list(sys.path)
    schema = load_schema("shop_models:Product")
    assert sys.path == paths
    assert schema.description == "What is sold."
    assert [(field.name, field.kind, field.choices, field.may_be_null) for field in schema.fields] == [
        ("colour", "string", ("red", "blue"), False),
        ("kind", "string", ("mug", "lamp"), False),
        ("size", "object", (), True),
        ("labels", "array", (), True),
    ]
    for name, message in {
        "Node": "shop_models:Node: field 'child': $ref '#/$defs/Node' is recursive",
        "other": "--schema shop_models:other: is no pydantic model; wanted module:Class of one",
        "None_": "--schema shop_models:None_: is no pydantic model; wanted module:Class of one",
    }.items():
        with pytest.raises(RequestError) as refused:
            load_schema(f"shop_models:{name}")
        assert str(refused.value).startswith(message.split(" 'child'")[0])
    with pytest.raises(RequestError, match="--schema no_such:Model: cannot be imported: ModuleNotFoundError"):
        load_schema("no_such:Model")


def test_a_taxonomy_and_a_schema_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "tags.yaml").write_text(TAGS)
    schema = load_schema(str(tmp_path / "tags.yaml"))
    assert [(field.name, (field.item or field).choices) for field in schema.fields] == [
        ("category", ("t-shirt", "mug")),
        ("colour", ("red", "blue")),
        ("motif", ("cat", "dog")),
    ]
    taxonomy = parse_taxonomy(TAGS, "tags.yaml")
    assert taxonomy_of_schema(schema, "tags.yaml") == taxonomy


def test_thresholds_are_left_out_with_a_message(caplog: pytest.LogCaptureFixture) -> None:
    schema = schema_of_taxonomy(default_taxonomy(), "tags.yaml")
    assert schema.fields[0].nullable
    assert (
        "tags.yaml: a schema has no thresholds; those of category, colour, pattern, motif are left out" in caplog.text
    )


def test_a_free_field_is_no_attribute(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}')
    with pytest.raises(RequestError, match=r"field 'a': an attribute of a taxonomy is a required enum"):
        taxonomy_of_schema(load_schema(str(tmp_path / "s.json")), "s.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "neither JSON nor YAML: "),
        ("a: [", "neither JSON nor YAML: "),
        (
            '{"type": "object", "properties": {"a": {"type": "boolean"}, "a": {"type": "number"}}}',
            "neither JSON nor YAML: key 'a' occurs twice",
        ),
        ("type: array", "wanted the schema of an object"),
        ("", "wanted the JSON Schema of an object, got None"),
    ],
)
def test_a_file_that_holds_no_schema_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(RequestError, match=message):
        load_schema(str(tmp_path / "s.yaml"))
    with pytest.raises(RequestError, match="the schema cannot be read"):
        load_schema(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ("choices: [x, y], when: b = x", "when"),
        ("choices: [x, y], model: 'fake:'", "model"),
        ("choices: [x, y], shortlist: {model: 'fake:', k: 1}", "shortlist"),
        ("choices: {x: [x, y]}", "choice 'x'"),
        ("choices: {x: {children: [y]}}", "choice 'x'"),
    ],
)
def test_what_a_schema_cannot_say_of_a_taxonomy_is_named(extra: str, named: str) -> None:
    text = f"attributes:\n  - {{name: a, question: q, {extra}}}\n  - {{name: b, question: q, choices: [x]}}"
    with pytest.raises(RequestError, match=f"^t.yaml: attribute 'a': a schema cannot say its {named}$"):
        schema_of_taxonomy(parse_taxonomy(text, "t.yaml"), "t.yaml")

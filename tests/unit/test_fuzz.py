"""A sample of what `make soak` does for hours: mutated files and texts end in a value or in an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.mutated_images import mutated, outcome, seeds
from tests.unit.readers.inputs import read
from vqa_ray.errors import RequestError
from vqa_ray.structured.parse import parse_schema
from vqa_ray.taxonomy.file import parse_taxonomy

IMAGES = 300
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WORDS = (
    "attributes",
    "name",
    "choices",
    "question",
    "type",
    "object",
    "properties",
    "enum",
    "$ref",
    "#",
    "array",
    "items",
)
DOCUMENTS = st.recursive(
    JSON | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=16,
)


def refusal(read_it: Callable[[], object]) -> str:
    """The message with which something is refused; empty where it is read."""
    try:
        read_it()
    except RequestError as error:
        return str(error)
    return ""


def test_mutated_images_have_an_outcome() -> None:
    files = seeds()
    found = [outcome(mutated(number, files)) for number in range(IMAGES)]
    assert {"ok", "image_undecodable"} <= set(found)


@given(DOCUMENTS)
def test_a_schema_is_read_or_refused(document: object) -> None:
    assert "\n" not in refusal(lambda: parse_schema(document, "s.json"))


@given(DOCUMENTS.map(json.dumps) | st.text(max_size=200))
def test_a_taxonomy_is_read_or_refused(text: str) -> None:
    assert "\n" not in refusal(lambda: parse_taxonomy(text, "t.yaml"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80), min_size=1, max_size=6))
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_every_line_of_a_table_is_a_row(tmp_path: Path, name: str, lines: list[bytes]) -> None:
    head = b'{"image_uri": "a.jpg", "question": "q"}' if name == "a.jsonl" else b"image_uri,question\na.jpg,q"
    whole = [line.replace(b"\n", b" ").replace(b"\r", b" ").replace(b'"', b"'") for line in lines]
    (tmp_path / name).write_bytes(b"\n".join([head, *whole, b""]))
    rows = read(tmp_path / name, format=name.removeprefix("a."), encoding="utf-8")
    # A CSV line of spaces is a record of one cell, told as malformed.
    assert len(rows) == 1 + sum(bool(line if name == "a.csv" else line.strip()) for line in whole)

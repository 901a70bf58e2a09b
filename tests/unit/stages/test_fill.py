"""The stage that fills objects: typed cells, scores, and errors with the text so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.openai_server import serving, shown_images
from tests.unit.stages.test_answer import BLUE, RED, decoded
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.fill import FillConfig, FillStage
from vqa_ray.structured.parse import parse_schema
from vqa_ray.types import FinishReason, WrittenObject

SCHEMA = parse_schema(
    {
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "blue"]},
            "size": {"type": "object", "properties": {"w": {"type": "integer"}}, "required": ["w"]},
            "note": {"type": "string", "pattern": "^[a-z]{2}$"},
        },
        "required": ["colour", "size"],
    },
    "s.json",
)
ENDPOINT = ModelOptions("openai:any", endpoint=EndpointOptions("http://127.0.0.1:1/v1"))


class Scripted:
    """A model that writes given texts, one for each image, or raises."""

    def __init__(self, *texts: str | RowError, cut: int | None = None) -> None:
        self.prompts: list[str] = []
        self._texts, self._cut = list(texts), cut

    def fill(self, images: Sequence[Any], prompts: Sequence[str], schema: Mapping[str, Any]) -> list[WrittenObject]:
        assert schema == SCHEMA.wire
        self.prompts += prompts
        return [self._written(self._texts.pop(0)) for _ in images]

    def _written(self, text: str | RowError) -> WrittenObject:
        if isinstance(text, RowError):
            self._texts.insert(0, text)
            raise text
        tokens = tuple(letter.encode() for letter in text)
        finish: FinishReason = "length" if self._cut is not None and len(text) == self._cut else "stop"
        return WrittenObject(text, tokens, tuple(math.log(0.5) for _ in tokens), finish, "seen")


def stage(model: Scripted, monkeypatch: pytest.MonkeyPatch) -> FillStage:
    monkeypatch.setattr(ModelOptions, "load", lambda _: model)
    return FillStage(FillConfig(ENDPOINT, SCHEMA, "What is it?"), attempt=2)


def test_fields_become_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted('{"colour": "red", "size": {"w": 7}, "note": null}', '{"colour": "blue", "size": {"w": 12}}')
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None, "price": 3.0}
    price = pa.field("price", pa.float64())
    table = stage(model, monkeypatch)(decoded([{"price": 1.0}, failed, {"colour": BLUE, "price": 2.0}], [price]))
    assert table["colour"].to_pylist() == ["red", None, "blue"]
    assert table["size"].to_pylist() == [{"w": 7}, None, {"w": 12}]
    assert table["note"].to_pylist() == [None, None, None]
    assert table["colour_score"].to_pylist() == [0.5**5, None, 0.5**6]
    # The digit, and what ends the number.
    assert table["size_score"].to_pylist() == [{"w": 0.5}, None, {"w": 0.5}]
    assert table["object_json"].to_pylist()[0] == '{"colour":"red","size":{"w":7}}'
    assert table["warning"].to_pylist() == ["seen", None, "seen"]
    assert table["attempt"].to_pylist() == [2, 2, 2]
    assert table["price"].to_pylist() == [1.0, 3.0, 2.0]
    assert model.prompts[0].startswith("What is it?\nAnswer with a JSON object of these fields:\n- colour (one of ")


def test_cut_and_wrong_objects_are_errors_with_the_text_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = '{"colour": "re'
    model = Scripted(cut, "no object", cut=len(cut))
    table = stage(model, monkeypatch)(decoded([{}, {"colour": BLUE}]))
    assert table["error_code"].to_pylist() == ["schema_unfinished", "schema_violated"]
    assert table["object_json"].to_pylist() == [cut, "no object"]
    assert table["finish_reason"].to_pylist() == ["length", "stop"]
    assert table["error_message"].to_pylist()[0] == f"the object was not complete after {len(cut)} tokens: {cut}"
    assert table["colour"].null_count == 2


def test_a_row_that_the_model_refuses_is_an_error_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted(RowError(ErrorCode.ENDPOINT_REFUSED, "no"))
    table = stage(model, monkeypatch)(decoded([{}]))
    assert table["error_code"].to_pylist() == ["endpoint_refused"]
    assert table["object_json"].to_pylist() == [None]


def test_an_endpoint_fills_objects_and_what_it_writes_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    texts = {RED: '{"colour": "red", "size": {"w": 7}, "note": "ab"}', BLUE: '{"colour": "green"}'}

    def text(body: dict[str, Any]) -> str:
        pixel = shown_images(body)[0].convert("RGB").getpixel((0, 0))
        return texts[RED] if pixel[0] > pixel[2] else texts[BLUE]  # type: ignore[index]

    with serving(text=text) as server:
        model = ModelOptions("openai:any", endpoint=EndpointOptions(server.url))
        table = FillStage(FillConfig(model, SCHEMA))(decoded([{}, {"colour": BLUE}]))
    assert table["colour"].to_pylist() == ["red", None]
    assert table["error_code"].to_pylist() == [None, "schema_violated"]
    assert table["object_json"].to_pylist() == [texts[RED].replace(" ", ""), texts[BLUE]]
    # `"red", ` is a token of the server.
    assert table["colour_score"].to_pylist() == [0.5, None]

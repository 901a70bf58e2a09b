"""Models in a notebook: what goes in, what comes out, and what goes wrong."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel, Field

import vqa_ray
from tests.helpers import tiny_blip
from vqa_ray import AnswerResult, RequestError, RowError
from vqa_ray.models.fake.model import FakeModel
from vqa_ray.models.load import ModelOptions

RED, BLUE = np.full((40, 60, 3), (255, 0, 0), np.uint8), np.full((40, 60, 3), (0, 0, 255), np.uint8)
COLOUR, DOG = "what colour is it?", "is there a dog?"


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def fake() -> vqa_ray.Model:
    return vqa_ray.load("fake:")


def texts(results: Any) -> Any:
    return [texts(each) for each in results] if isinstance(results, list) else results.text


def test_results_are_nested_as_images_and_questions_are(fake: vqa_ray.Model) -> None:
    assert texts(fake.answer(RED, COLOUR)) == "red"
    assert texts(fake.answer([RED, BLUE], COLOUR)) == ["red", "blue"]
    assert texts(fake.answer(RED, [COLOUR, COLOUR])) == ["red", "red"]
    assert texts(fake.answer([RED, BLUE], [COLOUR])) == [["red"], ["blue"]]
    assert texts(fake.answer([RED, BLUE], [[COLOUR], [COLOUR, COLOUR]])) == [["red"], ["blue", "blue"]]
    assert texts(fake.answer(np.stack([RED, BLUE]), COLOUR)) == ["red", "blue"]
    assert fake.answer([], COLOUR) == []


def test_every_kind_of_image_is_the_same_image(fake: vqa_ray.Model, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(png(RED))
    monkeypatch.chdir(tmp_path)
    whole = [RED, png(RED), bytearray(png(RED)), Image.fromarray(RED), Image.open(path), path, str(path)]
    with_alpha = np.dstack([RED, np.full(RED.shape[:2], 255, np.uint8)])
    images = [*whole, f"file://{path}", "red.png", with_alpha, Image.fromarray(RED).convert("P")]
    first, *others = fake.answer(images, COLOUR, errors="raise")
    assert isinstance(first, AnswerResult)
    assert first.text == "red"
    assert others == [first] * (len(images) - 1)


def test_gray_arrays_are_images(fake: vqa_ray.Model) -> None:
    gray = np.full((40, 60), 255, np.uint8)
    assert texts(fake.answer([gray, gray[:, :, None]], COLOUR)) == ["white", "white"]


def test_an_image_turned_by_exif_is_upright(fake: vqa_ray.Model) -> None:
    pixels = np.concatenate([RED, BLUE])
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    as_file, as_pil = fake.embed([file.getvalue(), Image.open(file)])
    assert np.array_equal(as_file, as_pil)


@pytest.mark.parametrize(
    ("image", "code", "reason"),
    [
        (b"", "image_missing", "0 bytes"),
        (b"no image", "image_undecodable", "8 bytes"),
        ("/nowhere.png", "image_missing", "/nowhere.png"),
        ("https://example.org/x.png", "image_fetch_failed", "allow"),
        (None, "image_missing", "no image"),
        (7, "row_malformed", "7 (an integer)"),
        (RED.astype(np.float32), "image_unsupported", "float32 (40, 60, 3)"),
        (np.zeros((0, 4, 3), np.uint8), "image_unsupported", "(0, 4, 3)"),
    ],
)
def test_a_bad_image_is_an_error_in_its_place(fake: vqa_ray.Model, image: Any, code: str, reason: str) -> None:
    before, error, after = fake.answer([RED, image, BLUE], COLOUR)
    assert texts([before, after]) == ["red", "blue"]
    assert isinstance(error, RowError)
    assert error.code == code
    assert reason in error.message
    for found in (fake.tag([RED, image]), fake.caption([RED, image]), fake.embed([RED, image])):
        assert [isinstance(each, RowError) for each in found] == [False, True]
    assert [isinstance(each, RowError) for each in fake.score([RED, image], DOG)] == [False, True]


def test_errors_are_raised_where_that_is_asked(fake: vqa_ray.Model) -> None:
    with pytest.raises(RowError, match=r"image_missing: images\[1\]: the image has 0 bytes"):
        fake.answer([RED, b""], COLOUR, errors="raise")
    with pytest.raises(RowError, match="image_missing: the image has 0 bytes"):
        fake.embed(b"", errors="raise")


def test_results_print_well(fake: vqa_ray.Model) -> None:
    answer = AnswerResult("red", 0.93456, (("blue", 0.0312345),), None, "cut")
    assert repr(answer) == "AnswerResult(text='red', score=0.935, alternatives=(('blue', 0.0312),), warning='cut')"
    assert repr(RowError(vqa_ray.ErrorCode.IMAGE_MISSING, "gone")) == "RowError('image_missing', 'gone')"
    assert repr(fake).startswith("Model('fake:', family='fake', tasks=(")
    assert repr(fake.tag(RED, TAXONOMY)) == "TagResult(tags=('colour:red',))"


TAXONOMY = {"attributes": [{"name": "colour", "question": COLOUR, "choices": ["red", "blue"]}]}


def test_tags_are_those_of_the_taxonomy(fake: vqa_ray.Model, tmp_path: Path) -> None:
    red, blue = fake.tag([RED, BLUE], TAXONOMY, errors="raise")
    assert (red.values, blue.values) == ({"colour": "red"}, {"colour": "blue"})
    assert red.scores["colour"]["red"] > red.scores["colour"]["blue"]
    file = tmp_path / "tags.yaml"
    file.write_text(f"attributes: [{{name: colour, question: '{COLOUR}', choices: [red, blue]}}]")
    assert fake.tag(RED, str(file)) == red == fake.tag(RED, vqa_ray.Taxonomy.model_validate(TAXONOMY))


def test_the_models_of_a_taxonomy_are_loaded_once(fake: vqa_ray.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = ModelOptions.load
    monkeypatch.setattr(ModelOptions, "load", lambda self: loaded.append(self.reference) or load(self))
    (colour,) = TAXONOMY["attributes"]
    own = {"attributes": [{**colour, "model": "fake:"}]}
    assert [fake.tag(each, own).tags for each in (RED, BLUE)] == [("colour:red",), ("colour:blue",)]
    assert loaded == ["fake:"]
    assert fake.tag(RED, {"attributes": [{**colour, "name": "shade", "model": "fake:"}]}).tags == ("shade:red",)


def test_choices_are_scored_in_their_order(fake: vqa_ray.Model) -> None:
    red, blue = fake.score([RED, BLUE], COLOUR, ["red", "blue", "green"])
    assert list(red.scores) == ["red", "blue", "green"]
    assert (red.best, blue.best) == ("red", "blue")


def test_captions_and_vectors(fake: vqa_ray.Model) -> None:
    assert "red" in fake.caption(RED).text
    assert fake.caption(RED, "a photo of").text.startswith("a photo of")
    one, (first, second) = fake.embed(RED), fake.embed([RED, BLUE])
    assert np.array_equal(one, first)
    assert np.linalg.norm(second) == pytest.approx(1)
    text = fake.embed_texts("a red picture")
    assert text.shape == one.shape
    assert np.array_equal(fake.embed_texts(["a red picture"]), text[None])
    several = vqa_ray.load("fake:quadrants")
    assert several.embed(RED).shape == (4, several.embed_texts("red").shape[0])


FIELDS = {"colour": {"enum": ["red", "blue"], "description": COLOUR}, "dog": {"type": "boolean"}}
SCHEMA = {"type": "object", "properties": FIELDS, "required": ["colour"]}


class Product(BaseModel):
    colour: Literal["red", "blue"] = Field(description=COLOUR)
    dog: bool | None = None


@pytest.mark.parametrize("schema", [SCHEMA, Product, "s.json", "product:Product"])
def test_an_object_is_filled_by_any_form_of_a_schema(
    fake: vqa_ray.Model, schema: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.json").write_text(json.dumps(SCHEMA))
    monkeypatch.setitem(sys.modules, "product", SimpleNamespace(Product=Product))
    red, blue, error = fake.fill([RED, BLUE, b""], schema)
    assert isinstance(red, vqa_ray.FillResult)
    assert [red.values["colour"], blue.values["colour"]] == ["red", "blue"]
    assert isinstance(red.values["dog"], bool)
    assert 0.5 < red.scores["colour"] <= 1
    assert json.loads(red.text) == red.values
    assert error.code == "image_missing"
    assert fake.fill(RED, schema) == red


def test_an_image_goes_to_the_model_once_however_many_questions_it_has(monkeypatch: Any) -> None:
    model = vqa_ray.load("fake:", batch_size=2)
    seen: list[tuple[int, int]] = []
    answer = FakeModel.answer

    def watched(self: Any, images: Any, questions: Any, *more: Any, **options: Any) -> Any:
        seen.append((len(images), sum(map(len, questions))))
        return answer(self, images, questions, *more, **options)

    monkeypatch.setattr(FakeModel, "answer", watched)
    model.answer([RED, RED, BLUE], [COLOUR, DOG])
    assert seen == [(1, 4), (1, 2)]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda model: model.answer(RED, " "), r"questions\[0\] is ' '"),
        (lambda model: model.answer(RED, []), "questions is empty"),
        (lambda model: model.answer(RED, [COLOUR, 7]), r"questions\[1\] is 7"),
        (lambda model: model.answer([RED, RED], [[COLOUR]]), "1 lists for 2 images"),
        (lambda model: model.answer(RED, COLOUR, top_k=0), "top_k is 0; allowed are 1 to 100"),
        (lambda model: model.answer(RED, COLOUR, errors="ignore"), "errors is 'ignore'"),
        (lambda model: model.score(RED, DOG, "yes"), "choices is 'yes'"),
        (lambda model: model.tag(RED, {"attribute": []}), "taxonomy: unknown key 'attribute'"),
        (lambda model: model.tag(RED, "/nowhere.yaml"), "/nowhere.yaml: the taxonomy cannot be read"),
        (lambda model: model.fill(RED, 7), "schema is 7; wanted is a pydantic model"),
        (lambda model: model.fill(RED, "/nowhere.json"), "/nowhere.json: the schema cannot be read"),
        (lambda model: model.fill(RED, "json:nothing"), "^schema json:nothing: is no pydantic model"),
        (lambda model: model.fill(RED, {"type": "object"}), "schema: an object needs at least one field"),
        (lambda model: model.fill(RED, {**SCHEMA, "properties": {"a": {"type": "string"}}}), "required 'colour'"),
        (lambda model: model.fill(RED, SCHEMA, " "), "prompt is ' '; wanted is a text"),
        (lambda model: model.fill(RED, SCHEMA, "what?"), "prompt: model fake is asked by the fields of the schema"),
        (lambda model: model.embed_texts(""), r"texts\[0\] is ''"),
    ],
)
def test_a_wrong_argument_is_refused_before_any_work(fake: vqa_ray.Model, call: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        call(fake)


def test_a_model_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not embed"):
        vqa_ray.load("fake:boxes").embed(RED)
    with pytest.raises(RequestError, match="does not answer"):
        vqa_ray.load("fake:quadrants").answer(RED, COLOUR)
    with pytest.raises(vqa_ray.ModelLoadError):
        vqa_ray.load(str(tmp_path / "none"))
    with pytest.raises(RequestError, match="batch_size is 0"):
        vqa_ray.load("fake:", batch_size=0)


def test_a_model_that_only_captions(tmp_path: Path) -> None:
    model = vqa_ray.load(str(tiny_blip.save(tmp_path, tiny_blip.blip("caption"))), dtype="float32")
    assert model.tasks == ("caption",)
    caption = model.caption(RED, errors="raise")
    assert isinstance(caption, vqa_ray.CaptionResult)
    assert caption.finish_reason in ("stop", "length")
    with pytest.raises(RequestError, match="does not answer"):
        model.answer(RED, COLOUR)


def test_boxes_are_in_pixels_of_the_source() -> None:
    boxes = vqa_ray.load("fake:boxes").answer(RED, "where is the dog?").boxes
    assert boxes
    assert all(0 <= box.x0 <= box.x1 <= 60 and 0 <= box.y0 <= box.y1 <= 40 for box in boxes)


def test_torch_keeps_its_threads(fake: vqa_ray.Model) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        fake.answer(RED, COLOUR)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

"""The captioning stage, and boxes in the pixels of the source image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.stages.test_answer import BLUE, QUESTION, RED, decoded
from vqa_ray import schema
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.types import Answer, Box, Image

FAKE, POINTING = ModelOptions("fake:"), ModelOptions("fake:boxes")


def with_patch(size: tuple[int, int]) -> dict[str, object]:
    """A white 8 × 8 image, from a source of (height, width) pixels, that is red below row 1 and left of column 7."""
    pixels = np.full((8, 8, 3), 255, np.uint8)
    pixels[1:, :7] = RED
    return {"pixels": pixels.tobytes(), "source_height": size[0], "source_width": size[1], "image_key": hash(size)}


class Silent:
    """A model that ends at once, or says nothing."""

    def __init__(self, *answers: tuple[tuple[str, float], ...]) -> None:
        self.calls: list[int] = []
        self._answers = answers

    def caption(self, images: Sequence[Image], prompt: str | None) -> list[Answer]:
        self.calls.append(len(images))
        return [Answer(answer) for answer in self._answers[: len(images)]]


def test_rows_come_back_in_order_with_their_columns() -> None:
    price = pa.field("price", pa.float64())
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None, "price": 3.0}
    table = decoded([{"price": 1.0}, failed, {"colour": BLUE, "price": 2.0, "image_id": "b"}], [price])
    captioned = CaptionStage(CaptionConfig(FAKE), attempt=2)(table)
    assert captioned.schema.equals(schema.with_kept(schema.CAPTION, [price]))
    assert captioned["caption"].to_pylist() == ["a red picture", None, "a blue picture"]
    assert captioned["error_code"].to_pylist() == [None, "image_missing", None]
    assert captioned["attempt"].to_pylist() == [2, 2, 2]
    assert captioned["price"].to_pylist() == [1.0, 3.0, 2.0]
    assert all(0 < score <= 1 for score in captioned["caption_score"].drop_null().to_pylist())


def test_captions_begin_with_the_prompt() -> None:
    captioned = CaptionStage(CaptionConfig(FAKE, prompt="a photo of a"))(decoded([{}, {"colour": BLUE}]))
    assert captioned["caption"].to_pylist() == ["a photo of a red picture", "a photo of a blue picture"]


def test_an_image_goes_to_the_model_once_and_empty_captions_are_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Silent((("", 0.25),), (("a cat", 0.5),))
    monkeypatch.setattr(ModelOptions, "load", lambda _: model)
    captioned = CaptionStage(CaptionConfig(FAKE))(decoded([{}, {"colour": BLUE}, {}]))
    assert model.calls == [2]
    assert captioned["caption"].to_pylist() == ["", "a cat", ""]
    assert captioned["caption_score"].to_pylist() == [0.25, 0.5, 0.25]
    assert captioned["status"].unique().to_pylist() == ["ok"]


def test_a_model_that_says_nothing_at_all_is_an_error_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelOptions, "load", lambda _: Silent(()))
    captioned = CaptionStage(CaptionConfig(FAKE))(decoded([{}]))
    assert captioned["error_code"].to_pylist() == ["model_error"]


def test_boxes_are_in_pixels_of_the_source_image() -> None:
    sizes = [(40, 80), (800, 16)]
    table = decoded([*map(with_patch, sizes), {"questions": ["is it red?"], **with_patch((8, 8))}])
    answered = AnswerStage(AnswerConfig(POINTING, 1, boxes=True))(table)
    captioned = CaptionStage(CaptionConfig(POINTING, boxes=True))(table)
    assert answered["answer"].to_pylist()[:2] == ["red", "red"]
    assert answered["boxes"].to_pylist()[:2] == captioned["boxes"].to_pylist()[:2]
    assert captioned["boxes"].to_pylist() == [
        [{"label": "red", "x0": 0.0, "y0": height / 8, "x1": width * 7 / 8, "y1": float(height)}]
        for height, width in [*sizes, (8, 8)]
    ]
    # "yes" and "no" are nowhere in particular.
    assert answered["boxes"].to_pylist()[2] == []


class Pointing:
    """A model that answers with the boxes it is given."""

    def __init__(self, *boxes: Box) -> None:
        self._boxes = boxes

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[str]], top_k: int) -> list[list[Answer]]:
        return [[Answer(((question, 0.5),), boxes=self._boxes) for question in asked] for asked in questions]


@pytest.mark.parametrize("several", [False, True])
def test_boxes_stand_beside_their_answer(monkeypatch: pytest.MonkeyPatch, several: bool) -> None:
    boxes = (Box("dog", 0.25, 0.5, 0.75, 1.0), Box("", -0.1, 0.0, 1.2, 0.5))
    monkeypatch.setattr(ModelOptions, "load", lambda _: Pointing(*boxes))
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None}
    table = decoded([with_patch((40, 80)) | {"questions": ["a", "b"] if several else ["a"]}, failed])
    answered = AnswerStage(AnswerConfig(FAKE, 1, multi_question=several, nested=True, boxes=True))(table)
    assert answered.schema.equals(schema.answer_schema(several, boxes=True))
    first, second = answered.to_pylist()
    wanted = [
        {"label": "dog", "x0": 20.0, "y0": 20.0, "x1": 60.0, "y1": 40.0},
        {"label": "", "x0": 0.0, "y0": 0.0, "x1": 80.0, "y1": 20.0},
    ]
    if several:
        assert [result["boxes"] for result in first["results"]] == [wanted, wanted]
        assert second["results"] is None
    else:
        assert (first["boxes"], second["boxes"]) == (wanted, None)


def test_without_boxes_the_columns_are_those_of_every_model() -> None:
    table = decoded([with_patch((40, 80))])
    assert AnswerStage(AnswerConfig(POINTING, 1))(table).schema.equals(schema.ANSWER)
    assert CaptionStage(CaptionConfig(POINTING))(table).schema.equals(schema.CAPTION)


class Remembers:
    """A model that answers with the number of turns before each question."""

    def answer(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        top_k: int,
        *,
        contexts: Sequence[Sequence[Sequence[tuple[str, str]]]],
    ) -> list[list[Answer]]:
        def said(question: str, turns: Sequence[tuple[str, str]]) -> Answer:
            return Answer((("|".join(f"{asked}{answer}" for asked, answer in turns) + question, 0.5),))

        return [list(map(said, asked, turns)) for asked, turns in zip(questions, contexts, strict=True)]


def test_each_question_goes_to_the_model_with_the_turns_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelOptions, "load", lambda _: Remembers())
    turns = [{"question": "q1", "answer": "a1"}, {"question": "q2", "answer": "a2"}]
    rows = [{"turns": turns}, {"colour": BLUE}, {"turns": turns[1:], "questions": ["x", "y"]}]
    answered = AnswerStage(AnswerConfig(FAKE, 1, multi_question=True, nested=True))(decoded(rows)).to_pylist()
    assert [[result["answer"] for result in row["results"]] for row in answered] == [
        [f"q1a1|q2a2{QUESTION}"],
        [QUESTION],
        ["q2a2x", "q2a2y"],
    ]


def test_turns_that_do_not_fit_are_told() -> None:
    turns = [{"question": "why? " * 100, "answer": "because"}] * 3
    table = decoded([{"turns": turns, "questions": ["is it red?"]}, {"turns": turns[:1], "questions": ["is it red?"]}])
    answered = AnswerStage(AnswerConfig(FAKE, 1))(table).to_pylist()
    assert [row["warning"] for row in answered] == ["2 of 3 earlier turns left out", None]
    assert answered[0]["answer_score"] == answered[1]["answer_score"]
    alone = AnswerStage(AnswerConfig(FAKE, 1))(decoded([{"questions": ["is it red?"]}])).to_pylist()
    assert alone[0]["answer_score"] != answered[1]["answer_score"]

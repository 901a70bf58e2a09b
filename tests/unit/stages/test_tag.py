"""The tag stage, with the shipped fake model and with a model that counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.models.fake.model import FAILURE
from vqa_ray.models.load import ModelOptions
from vqa_ray.row_text.hidden_columns import TEXT, TEXT_WARNING
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.types import ChoiceScores

TAXONOMY = Taxonomy.model_validate(
    {
        "attributes": [
            {"name": "colour", "question": "what colour?", "choices": ["red", "green", "blue"], "threshold": 0.8},
            {
                "name": "motif",
                "question": "is there {choice}?",
                "choices": ["dog", "cat"],
                "mode": "yes_no",
                "multi": True,
            },
        ]
    }
)


def decoded(*colours: tuple[int, int, int] | None) -> pa.Table:
    rows = [
        {
            "source_key": row,
            "row_id": row,
            "image_key": None if colour is None else hash(colour),
            "pixels": None if colour is None else np.full((8, 16, 3), colour, np.uint8).tobytes(),
            "height": 8,
            "width": 16,
            "status": "error" if colour is None else "ok",
            "error_code": "image_undecodable" if colour is None else None,
            "brand": "acme",
        }
        for row, colour in enumerate(colours)
    ]
    return pa.Table.from_pylist(rows, schema.with_kept(schema.DECODED, [pa.field("brand", pa.string())]))


RED, GREEN, GREY = (220, 30, 30), (30, 160, 60), (128, 128, 128)


def test_tags_every_row_and_passes_errors_through() -> None:
    result = TagStage(TagConfig(ModelOptions("fake:"), TAXONOMY), attempt=3)(decoded(RED, None, GREEN, GREY))
    assert result.schema.names == [*schema.tag_schema(TAXONOMY.columns).names, "brand"]
    assert result["colour"].to_pylist() == ["red", None, "green", None]
    assert result["colour_score"][0].as_py() == pytest.approx(1.0)
    assert 0 < result["colour_score"][3].as_py() < 0.8
    assert result["status"].to_pylist() == ["ok", "error", "ok", "ok"]
    assert result["error_code"].to_pylist() == [None, "image_undecodable", None, None]
    assert result["tags"][1].as_py() is None
    assert "colour:red" in result["tags"][0].as_py()
    assert result["motif"][1].as_py() is None
    assert isinstance(result["motif"][0].as_py(), list)
    assert result["attempt"].to_pylist() == [3] * 4


class Counting:
    """Scores everything with 1 and remembers what it was asked; cannot say `unknown`, fails on black."""

    def __init__(self) -> None:
        self.images: list[int] = []
        self.questions: list[int] = []

    def score(
        self,
        images: Sequence[np.ndarray],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        self.images.append(len(images))
        self.questions.append(sum(map(len, questions)))
        value = [math.nan if image.max() == 0 else 1.0 for image in images]
        return [
            [ChoiceScores((each,) * len(offered), "question cut") for offered in of_image]
            for each, of_image in zip(value, choices, strict=True)
        ]

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        return [choice != "unknown" for choice in choices]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    model = Counting()
    monkeypatch.setattr(ModelOptions, "load", lambda _: model)
    return model


def test_an_image_goes_to_the_model_once_with_all_its_questions(counting: Counting) -> None:
    result = TagStage(TagConfig(ModelOptions("any"), TAXONOMY))(decoded(RED, GREEN, RED, RED))
    assert (counting.images, counting.questions) == ([2], [6])
    assert result["colour"].to_pylist() == ["red"] * 4
    assert result["warning"].to_pylist() == ["question cut"] * 4


def test_a_score_that_is_no_number_costs_its_own_row_only(counting: Counting) -> None:
    result = TagStage(TagConfig(ModelOptions("any"), TAXONOMY))(decoded(RED, (0, 0, 0), GREEN))
    assert result["status"].to_pylist() == ["ok", "error", "ok"]
    assert result["error_code"][1].as_py() == "model_error"
    assert result["error_message"][1].as_py() == "the model's score of colour:red is nan"
    assert result["tags"][1].as_py() is None


def test_a_choice_the_model_cannot_say_is_told_before_any_row(counting: Counting) -> None:
    taxonomy = Taxonomy.model_validate({"attributes": [{"name": "a", "question": "q", "choices": ["unknown", "red"]}]})
    with pytest.raises(RequestError, match=r"model any cannot answer 'unknown' \(1 of 2 choices\)"):
        TagStage(TagConfig(ModelOptions("any"), taxonomy))


def test_a_failing_model_makes_error_rows() -> None:
    taxonomy = Taxonomy.model_validate({"attributes": [{"name": "a", "question": FAILURE, "choices": ["x"]}]})
    result = TagStage(TagConfig(ModelOptions("fake:"), taxonomy))(decoded(RED, GREEN))
    assert result["error_code"].to_pylist() == ["model_error"] * 2
    assert result["error_message"][0].as_py().startswith("ValueError: ")


class Wording(Counting):
    """Remembers the questions it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def score(self, images: Sequence[np.ndarray], questions: Any, choices: Any) -> list[list[ChoiceScores]]:
        self.asked += [list(each) for each in questions]
        return super().score(images, questions, choices)


def test_questions_name_the_texts_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Wording()
    monkeypatch.setattr(ModelOptions, "load", lambda _: model)
    asked = {"name": "a", "question": "is {{it}} {title} or {choice}?", "choices": ["x"], "mode": "yes_no"}
    table = decoded(RED, RED, RED)
    table = table.append_column(f"{TEXT}title", pa.array(["mug", "cup", "mug"]))
    table = table.append_column(TEXT_WARNING, pa.array(["title: cut", None, "title: cut"]))
    result = TagStage(TagConfig(ModelOptions("any"), Taxonomy.model_validate({"attributes": [asked]})))(table)
    assert model.asked == [["is {it} mug or x?"], ["is {it} cup or x?"]], "an image and a text are asked once"
    assert result.schema.names == [*schema.tag_schema([("a", False)]).names, "brand"]
    assert result["warning"].to_pylist() == ["title: cut; question cut", "question cut", "title: cut; question cut"]

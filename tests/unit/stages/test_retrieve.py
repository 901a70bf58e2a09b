"""The retrieve stage: what it asks, what comes out, and that asking less changes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vqa_ray import schema
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.types import Answer, ChoiceScores

WHERE = '"is it bright?" and not "is it rare?" and ("what is it?" = "b" or "is it even?" >= 0.5)'
COUNT = 160


def decoded(values: Sequence[int | None]) -> pa.Table:
    """One grey pixel each; None is a row in error."""
    rows = [
        {
            "source_key": row,
            "row_id": row,
            "image_key": value,
            "pixels": None if value is None else bytes([value] * 3),
            "height": 1,
            "width": 1,
            "status": "error" if value is None else "ok",
            "error_code": "image_undecodable" if value is None else None,
            "brand": "acme",
        }
        for row, value in enumerate(values)
    ]
    return pa.Table.from_pylist(rows, schema.with_kept(schema.DECODED, [pa.field("brand", pa.string())]))


def truth(value: int, question: str, choice: str) -> float:
    yes = {
        "is it bright?": value / 255,
        "is it rare?": float(value % 16 == 0),
        "is it even?": 0.9 if value % 2 == 0 else 0.2,
        "what is it?": 0.8 if value % 4 == 1 else 0.1,
    }[question]
    return 1 - yes if choice == "no" else yes


class Knowing:
    """Scores by the pixel's value, and remembers how many questions and images it was asked about."""

    def __init__(self) -> None:
        self.asked = 0
        self.seen: list[int] = []

    def score(
        self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]], choices: Sequence[Any]
    ) -> list[list[ChoiceScores]]:
        self.asked += sum(map(len, questions))
        self.seen += [int(image[0, 0, 0]) for image in images]
        return [
            [
                ChoiceScores(
                    tuple(
                        math.nan if image[0, 0, 0] == 255 else truth(int(image[0, 0, 0]), question, choice)
                        for choice in offered
                    ),
                    "cut" if question == "is it bright?" else None,
                )
                for question, offered in zip(asked, of_image, strict=True)
            ]
            for image, asked, of_image in zip(images, questions, choices, strict=True)
        ]

    def answer(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]], top_k: int) -> Any:
        self.asked += sum(map(len, questions))
        said = [("The B!", 0.8) if image[0, 0, 0] % 4 == 1 else ("c", 0.7) for image in images]
        return [[Answer((each,)) for _ in asked] for each, asked in zip(said, questions, strict=True)]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Knowing:
    model = Knowing()
    monkeypatch.setattr(ModelOptions, "load", lambda _: model)
    return model


def in_batches(stage: RetrieveStage, values: Sequence[int | None], size: int = 32) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for start in range(0, len(values), size):
        found += stage(decoded(values[start : start + size])).to_pylist()
    return found


@pytest.mark.parametrize("algebra", ["min-max", "product"])
def test_asking_less_finds_the_same_matches_with_the_same_scores(model: Knowing, algebra: Any) -> None:
    values = [int(value) for value in np.random.default_rng(5).integers(0, 255, COUNT)]
    predicate = parse(WHERE, 0.4, algebra)
    whole = in_batches(RetrieveStage(RetrieveConfig(ModelOptions("any"), predicate, ask_all=True)), values)
    distinct = sum(len(set(values[start : start + 32])) for start in range(0, COUNT, 32))
    assert model.asked == 4 * distinct
    model.asked = 0
    fewer = in_batches(RetrieveStage(RetrieveConfig(ModelOptions("any"), predicate)), values)
    assert model.asked < 0.7 * 4 * distinct
    assert [row["match"] for row in fewer] == [row["match"] for row in whole]
    assert 0 < sum(row["match"] for row in whole) < COUNT
    for value, ours, theirs in zip(values, fewer, whole, strict=True):
        assert ours["score"] == theirs["score"] or (ours["score"] is None and not ours["match"])
        for asked, known in zip(ours["scores"], theirs["scores"], strict=True):
            assert asked["score"] in (None, known["score"])
            assert known["score"] == pytest.approx(truth(value, known["question"], known["answer"] or "yes"))


def test_calls_of_several_threads_learn_one_order(model: Knowing) -> None:
    """An engine that batches requests itself is given the next batch beside this one."""
    values = [int(value) for value in np.random.default_rng(5).integers(0, 255, COUNT)]
    stage = RetrieveStage(RetrieveConfig(ModelOptions("any"), parse(WHERE, 0.4)))
    begun, waiting = Barrier(2, timeout=30), iter([True, True])
    score = model.score

    def both_at_a_time(*args: Any) -> Any:
        if next(waiting, False):
            begun.wait()
        return score(*args)

    model.score = both_at_a_time  # type: ignore[method-assign]
    halves = [values[: COUNT // 2], values[: COUNT // 2]]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda half: in_batches(stage, half), halves)
    assert [row["match"] for row in first] == [row["match"] for row in second]
    alone = in_batches(RetrieveStage(RetrieveConfig(ModelOptions("any"), parse(WHERE, 0.4), ask_all=True)), halves[0])
    assert [row["match"] for row in first] == [row["match"] for row in alone]


def test_rows_keep_their_columns_and_errors_pass_through(model: Knowing) -> None:
    stage = RetrieveStage(
        RetrieveConfig(ModelOptions("any"), parse('"is it bright?" and "what is it?" = "b"')), attempt=2
    )
    table = stage(decoded([253, None, 253, 3]))
    assert table.schema.equals(schema.with_kept(schema.RETRIEVE, [pa.field("brand", pa.string())]))
    rows = table.to_pylist()
    assert [row["match"] for row in rows] == [True, None, True, False]
    assert rows[0]["score"] == pytest.approx(0.8)
    assert rows[0]["scores"] == [
        {"question": "is it bright?", "answer": None, "score": pytest.approx(253 / 255)},
        {"question": "what is it?", "answer": "b", "score": pytest.approx(0.8)},
    ]
    assert (rows[1]["status"], rows[1]["error_code"], rows[1]["scores"]) == ("error", "image_undecodable", None)
    assert [row["warning"] for row in rows] == ["cut", None, "cut", "cut"]
    assert {row["attempt"] for row in rows} == {2}
    assert model.seen == [253, 3], "an image that two rows show is asked once"


def test_a_written_answer_counts_with_its_score_where_it_is_the_one_wanted(model: Knowing) -> None:
    stage = RetrieveStage(
        RetrieveConfig(ModelOptions("any"), parse('"what is it?" = "b" and "is it bright?" >= 0'), free_answers=True)
    )
    assert [row["score"] for row in stage(decoded([5, 6])).to_pylist()] == [pytest.approx(0.8), 0.0]


def test_a_score_that_is_no_number_costs_its_own_row(model: Knowing) -> None:
    rows = RetrieveStage(RetrieveConfig(ModelOptions("any"), parse('"is it bright?"')))(
        decoded([7, 255, 9])
    ).to_pylist()
    assert [row["error_code"] for row in rows] == [None, "model_error", None]
    assert rows[1]["error_message"] == "the model's score of 'is it bright?' is nan"
    assert rows[1]["match"] is None

"""The answering stage: rows in are rows out, whatever the model does."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vqa_ray import schema
from vqa_ray.models.fake.model import FAILURE
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages import model_stage as batch
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.model_actor import EXIT_CODE, ModelActor
from vqa_ray.stages.questions import one_row_per_question, packed_schema
from vqa_ray.types import Answer, Image

QUESTION = "what colour is it?"
RED, BLUE = (220, 30, 30), (40, 70, 210)


def decoded(rows: Sequence[dict[str, object]], kept: Sequence[pa.Field] = ()) -> pa.Table:
    """A DECODED table of 8 × 8 images; a row gives what differs from an ok row that asks for the colour of red."""
    given = []
    for number, row in enumerate(rows):
        colour = row.get("colour", RED)
        plain = {
            "source_key": number,
            "row_id": number,
            "questions": [QUESTION],
            "image_key": hash(colour),
            "pixels": np.full((8, 8, 3), colour, np.uint8).tobytes(),
            "height": 8,
            "width": 8,
            "status": schema.STATUS_OK,
        }
        given.append(plain | {name: value for name, value in row.items() if name != "colour"})
    return pa.Table.from_pylist(given, schema=schema.with_kept(schema.DECODED, kept))


class Recorder:
    """A model that notes what it is given, and answers with the score it is told to."""

    score_meaning = "none"

    def __init__(self, score: float = 0.5) -> None:
        self.calls: list[tuple[list[Image], list[list[str]]]] = []
        self._score = score

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[str]], top_k: int) -> list[list[Answer]]:
        self.calls.append((list(images), [list(asked) for asked in questions]))
        return [[Answer(((question, self._score),)) for question in asked] for asked in questions]


def stage_with(model: Recorder, **options: object) -> AnswerStage:
    stage = AnswerStage(AnswerConfig(ModelOptions("fake:"), 3, **options))
    stage._model = model
    return stage


def test_rows_come_back_in_order_with_their_columns() -> None:
    price = pa.field("price", pa.float64())
    table = decoded([{"price": 1.0}, {"colour": BLUE, "price": 2.0, "image_id": "b"}], [price])
    answered = AnswerStage(AnswerConfig(ModelOptions("fake:"), 2), attempt=3)(table)
    assert answered.schema.equals(schema.with_kept(schema.ANSWER, [price]))
    assert answered["answer"].to_pylist() == ["red", "blue"]
    assert [len(answers) for answers in answered["answers"].to_pylist()] == [2, 2]
    assert answered["attempt"].to_pylist() == [3, 3]
    assert answered["price"].to_pylist() == [1.0, 2.0]
    assert answered["image_id"].to_pylist() == [None, "b"]


def test_an_image_goes_to_the_model_once_with_all_its_questions_and_without_a_copy() -> None:
    table = decoded([{"questions": ["a"]}, {"questions": ["b"], "colour": BLUE}, {"questions": ["c"]}])
    model = Recorder()
    assert stage_with(model)(table)["answer"].to_pylist() == ["a", "b", "c"]
    ((images, asked),) = model.calls
    assert asked == [["a", "c"], ["b"]]
    buffer = table["pixels"].chunk(0).buffers()[2]
    for image in images:
        assert buffer.address <= image.__array_interface__["data"][0] < buffer.address + buffer.size


def test_error_rows_pass_and_keep_their_question() -> None:
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None}
    answered = AnswerStage(AnswerConfig(ModelOptions("fake:"), 1))(decoded([failed, {}])).to_pylist()
    assert (answered[0]["error_code"], answered[0]["question"], answered[0]["answer"]) == (
        "image_missing",
        QUESTION,
        None,
    )
    assert answered[1]["answer"] == "red"


def test_the_row_that_the_model_cannot_take_stands_alone() -> None:
    rows = [{"questions": [FAILURE] if number == 5 else [QUESTION], "image_key": number} for number in range(9)]
    answered = AnswerStage(AnswerConfig(ModelOptions("fake:"), 1))(decoded(rows)).to_pylist()
    assert [row["error_code"] for row in answered] == [None] * 5 + ["model_error"] + [None] * 3
    assert answered[5]["error_message"] == f"ValueError: the question holds {FAILURE}"
    assert [row["answer"] for row in answered if row["status"] == "ok"] == ["red"] * 8


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_an_error_row(score: float) -> None:
    answered = stage_with(Recorder(score))(decoded([{}])).to_pylist()
    assert (answered[0]["error_code"], answered[0]["answer_score"]) == ("model_error", None)


def test_rows_without_a_question_are_told() -> None:
    answered = AnswerStage(AnswerConfig(ModelOptions("fake:"), 1))(
        decoded([{"questions": []}, {"questions": None}, {}])
    )
    assert answered["error_code"].to_pylist() == ["question_missing", "question_missing", None]


def test_several_questions_nested_in_their_row() -> None:
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None}
    table = decoded([{"questions": [QUESTION, "why " * 500]}, failed])
    answered = AnswerStage(AnswerConfig(ModelOptions("fake:"), 1, multi_question=True, nested=True))(table)
    assert answered.schema.equals(schema.ANSWERS)
    first, second = answered.to_pylist()
    assert [(each["question"], len(each["answers"])) for each in first["results"]] == [(QUESTION, 1), ("why " * 500, 1)]
    assert first["warning"].startswith("question cut")
    assert second["results"] is None


def test_all_rows_of_a_batch_in_error() -> None:
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None}
    model = Recorder()
    assert stage_with(model)(decoded([failed, failed])).num_rows == 2
    assert model.calls == []


class AcceleratorError(RuntimeError):
    """Named as torch names the loss of a device."""


class Lost:
    """A stage whose device is gone."""

    def __call__(self, table: pa.Table) -> pa.Table:
        raise AcceleratorError("CUDA error: device-side assert triggered")


def test_a_lost_device_ends_the_process() -> None:
    assert AcceleratorError.__name__ in batch.DEVICE_LOST
    code = (
        "from tests.unit.stages.test_answer import *; import tempfile;"
        "ModelActor(Lost, CrashJournal('x', Path(tempfile.mkdtemp())))(decoded([{}]))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == EXIT_CODE


class Deadly:
    """A stage that ends its process over the row with key 2."""

    def __init__(self) -> None:
        self._stage = AnswerStage(AnswerConfig(ModelOptions("fake:"), 1))

    def __call__(self, table: pa.Table) -> pa.Table:
        ok = [row["source_key"] for row in table.to_pylist() if row["status"] == "ok"]
        if 2 in ok:
            os._exit(3)
        return self._stage(table)


def test_a_row_that_kills_the_process_costs_that_row_only(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    table = decoded([{"image_key": number} for number in range(4)])
    code = (
        "from tests.unit.stages.test_answer import *;"
        f"ModelActor(Deadly, CrashJournal('run', Path({str(tmp_path)!r})))"
        "(decoded([{'image_key': n} for n in range(4)]))"
    )
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 3
    answered = ModelActor(Deadly, CrashJournal("run", tmp_path))(table).to_pylist()
    assert [row["error_code"] for row in answered] == [None, None, "row_crashed", None]
    assert [row["answer"] for row in answered] == ["red", "red", None, "red"]
    assert list(tmp_path.iterdir()) == []


def rows_of(table: pa.Table, model: Recorder | None = None) -> pa.Table:
    """Rows with several questions as they are written: a row each."""
    stage = (
        AnswerStage(AnswerConfig(ModelOptions("fake:"), 2, multi_question=True))
        if model is None
        else stage_with(model, multi_question=True)
    )
    packed = stage(table)
    assert packed.num_rows == table.num_rows
    form = schema.with_kept(schema.ANSWER, batch.kept_fields(table))
    assert packed.schema.equals(packed_schema(form))
    written = one_row_per_question(packed, form)
    assert written.schema.equals(form)
    return written


def test_each_question_of_a_row_gets_a_row_with_the_columns_of_a_single_one() -> None:
    price = pa.field("price", pa.float64())
    given = [
        {"questions": [QUESTION, "why " * 500], "question_id": "q", "image_uri": "a.png", "price": 1.0},
        {"questions": [QUESTION], "question_id": "p", "colour": BLUE, "price": 2.0},
    ]
    written = rows_of(decoded(given, [price])).to_pylist()
    assert [(row["source_key"], row["question_index"], row["question_id"]) for row in written] == [
        (0, 0, "q#0"),
        (0, 1, "q#1"),
        (1, 0, "p"),
    ]
    assert [row["question"] for row in written] == [QUESTION, "why " * 500, QUESTION]
    assert [row["answer"] for row in written] == ["red", "red", "blue"]
    assert [len(row["answers"]) for row in written] == [2, 2, 2]
    assert [row["image_uri"] for row in written] == ["a.png", "a.png", None]
    assert [row["price"] for row in written] == [1.0, 1.0, 2.0]
    assert written[0]["warning"] is None
    assert written[1]["warning"].startswith("question cut")


@pytest.mark.parametrize("name", ["asked", "outcomes"])
def test_a_kept_column_may_have_any_name(name: str) -> None:
    written = rows_of(decoded([{"questions": [QUESTION, QUESTION], name: 1.0}], [pa.field(name, pa.float64())]))
    assert written[name].to_pylist() == [1.0, 1.0]


def test_an_image_that_cannot_be_shown_gives_an_error_row_for_each_question() -> None:
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None}
    given = [failed | {"questions": ["a", "b"]}, failed | {"questions": []}, {"questions": []}, {}]
    written = rows_of(decoded(given)).to_pylist()
    assert [(row["source_key"], row["question_index"], row["question"], row["error_code"]) for row in written] == [
        (0, 0, "a", "image_missing"),
        (0, 1, "b", "image_missing"),
        (1, 0, None, "image_missing"),
        (2, 0, None, "question_missing"),
        (3, 0, QUESTION, None),
    ]


def test_a_question_that_fails_stands_alone_and_one_that_is_null_is_not_asked() -> None:
    model = Recorder()
    assert rows_of(decoded([{"questions": [None, "b", None]}]), model)["question_index"].to_pylist() == [1]
    assert [asked for _, asked in model.calls] == [[["b"]]]
    written = rows_of(decoded([{"questions": [QUESTION, FAILURE, QUESTION]}, {}])).to_pylist()
    assert [row["error_code"] for row in written] == [None, "model_error", None, None]
    assert [row["answer"] for row in written] == ["red", None, "red", "red"]
    assert [row["question_index"] for row in written] == [0, 1, 2, 0]


def test_an_empty_table_of_several_questions_stays_one() -> None:
    assert rows_of(decoded([])).num_rows == 0


@pytest.mark.parametrize("nested", [False, True])
def test_a_run_from_before_keeps_its_columns(nested: bool) -> None:
    stage = AnswerStage(AnswerConfig(ModelOptions("fake:"), 1, multi_question=nested, nested=True, version=1))
    answered = stage(decoded([{}]))
    assert answered.schema.equals(schema.answer_schema(nested, version=1))
    assert {"image_uri", "finish_reason", "question_index"}.isdisjoint(answered.column_names)
    if nested:
        assert list(answered["results"][0].as_py()[0]) == ["question", "answer", "answer_score", "answers"]

"""Two models: which rows the second is asked about, which of the two decides, and what the row says of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.stages.test_decode import png, table_of
from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.evaluation.calibration import TemperatureMap
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.first_opinion import DECIDED, FirstOpinion
from vqa_ray.stages.opinions import ColumnScore, Condition, LeastTagScore, Opinions
from vqa_ray.stages.prepare import PrepareImages
from vqa_ray.stages.questions import one_row_per_question
from vqa_ray.stages.second_opinion import SecondOpinion
from vqa_ray.types import Answer, Image

CASCADE = Opinions("answer", ColumnScore("answer_score"), Condition(0.6), second_decides=True)
AGREE = Opinions("answer", ColumnScore("answer_score"), Condition(), second_decides=False)


class Scripted:
    """A model whose answers are scripted by question: (answer, score), or an exception."""

    score_meaning = "none"

    def __init__(self, script: Mapping[str, tuple[str, float] | Exception]) -> None:
        self.script = script
        self.asked: list[str] = []
        self.sizes: set[tuple[int, ...]] = set()

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[str]], top_k: int) -> list[list[Answer]]:
        self.sizes |= {image.shape[:2] for image in images}
        return [[self._one(question) for question in asked] for asked in questions]

    def _one(self, question: str) -> Answer:
        said = self.script[question]
        if isinstance(said, Exception):
            raise said
        self.asked.append(question)
        return Answer((said,))


class Larger(FakeTransform):
    """The images of the second model."""

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        return 2 * height, 2 * width


def _stage(model: Scripted, several: bool) -> AnswerStage:
    stage = AnswerStage(AnswerConfig(ModelOptions("fake:"), 1, multi_question=several))
    stage._model = model  # type: ignore[assignment]
    return stage


def ask_both(
    tmp_path: Path, read: pa.Table, first: Scripted, second: Scripted, opinions: Opinions, *, several: bool = False
) -> tuple[pa.Table, pa.Table]:
    """(rows, what travelled between the two models)."""
    fetch = FetchImages(ImageFetcher(2**20))
    journals = [CrashJournal(name, tmp_path) for name in ("a", "b")]
    decodes = [
        DecodeImages(size, journal=each) for size, each in zip((FakeTransform(), Larger()), journals, strict=True)
    ]
    between = FirstOpinion(partial(_stage, first, several), opinions)(
        PrepareImages(fetch, decodes[0], carry=True)(read)
    )
    joined = SecondOpinion(partial(_stage, second, several), opinions)(PrepareImages(fetch, decodes[1])(between))
    form = pa.schema([field for field in joined.schema if field.name != "price"])
    rows = one_row_per_question(joined, _written(form)) if several else joined
    return rows, between


def _written(packed: pa.Schema) -> pa.Schema:
    """The rows that packed ones become, as a job writes them."""
    inner = list(packed.field("packed:outcomes").type.value_type)
    return pa.schema([*(field for field in packed if field.name != "packed:outcomes"), *inner])


def one_question(*questions: str, **more: Any) -> pa.Table:
    return table_of([{"questions": [question], "image": png(), **more} for question in questions])


def cells(rows: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(rows[name].to_pylist() for name in names), strict=True))


def test_the_second_model_decides_what_the_first_is_unsure_of(tmp_path: Path) -> None:
    first = Scripted({"sure?": ("red", 0.9), "unsure?": ("red", 0.25), "alike?": ("A Dog.", 0.5)})
    second = Scripted({"unsure?": ("blue", 0.75), "alike?": ("dog", 0.5)})
    read = one_question("sure?", "unsure?", "alike?")
    rows, between = ask_both(tmp_path, read, first, second, CASCADE)
    names = ("answer", "answer_score", "decided_by", "agrees", "first_answer", "first_score", "second_answer")
    assert cells(rows, *names) == [
        ("red", pytest.approx(0.9), "first", None, "red", pytest.approx(0.9), None),
        ("blue", 0.75, "second", False, "red", 0.25, "blue"),
        ("dog", 0.5, "second", True, "A Dog.", 0.5, "dog"),
    ]
    assert cells(rows, "price", "image_id", "status") == [
        (0.0, "image-0", "ok"),
        (0.5, "image-1", "ok"),
        (1.0, "image-2", "ok"),
    ]
    assert second.asked == ["unsure?", "alike?"]
    assert (first.sizes, second.sizes) == ({(40, 64)}, {(40, 60)}), "each sees the image in its own size"
    assert [each is not None for each in between["image"].to_pylist()] == [False, True, True]
    assert between["status"].to_pylist() == [DECIDED, "ok", "ok"]
    assert not {"pixels", "carried:image"} & set(between.schema.names), "pixels of the first model do not travel on"


def test_failures_of_either_model(tmp_path: Path) -> None:
    first = Scripted({"first?": ValueError("no"), "second?": ("red", 0.5), "both?": ValueError("no")})
    second = Scripted({"first?": ("blue", 0.5), "second?": ValueError("never"), "both?": ValueError("never")})
    read = pa.concat_tables([one_question("first?", "second?", "both?"), one_question("first?", image=b"broken")])
    rows, _ = ask_both(tmp_path, read, first, second, CASCADE)
    names = ("status", "error_code", "error_message", "decided_by", "answer", "first_answer", "second_answer")
    assert cells(rows, *names)[:3] == [
        ("ok", None, None, "second", "blue", None, "blue"),
        ("error", "model_error", "ValueError: never", "second", None, "red", None),
        ("error", "model_error", "ValueError: never", "second", None, None, None),
    ]
    assert cells(rows, "error_code", "decided_by")[3] == ("image_undecodable", None)
    assert rows["warning"].to_pylist()[0] == "the first model failed: model_error: ValueError: no"


def test_each_of_several_questions_is_decided_by_itself(tmp_path: Path) -> None:
    first = Scripted({"sure?": ("red", 0.9), "unsure?": ("red", 0.25)})
    second = Scripted({"unsure?": ("blue", 0.75)})
    read = table_of(
        [
            {"questions": ["sure?", "unsure?"], "image": png()},
            {"questions": ["sure?"], "image": png()},
            {"questions": ["unsure?", None], "image": png()},
        ]
    )
    rows, between = ask_both(tmp_path, read, first, second, CASCADE, several=True)
    assert cells(rows, "source_key", "question_index", "question", "answer", "decided_by") == [
        (0, 0, "sure?", "red", "first"),
        (0, 1, "unsure?", "blue", "second"),
        (1, 0, "sure?", "red", "first"),
        (2, 0, "unsure?", "blue", "second"),
    ]
    assert between["questions"].to_pylist() == [[None, "unsure?"], [None], ["unsure?", None]]
    assert second.asked == ["unsure?", "unsure?"]


def test_both_models_are_compared(tmp_path: Path) -> None:
    first = Scripted({"a?": ("Two dogs", 0.9), "b?": ("red", 0.1), "c?": ("red", 0.9), "d?": ValueError("no")})
    second = Scripted({"a?": ("2 dogs", 0.5), "b?": ("blue", 0.5), "c?": ValueError("never")})
    rows, _ = ask_both(tmp_path, one_question("a?", "b?", "c?", "d?"), first, second, AGREE)
    assert cells(rows, "answer", "decided_by", "agrees", "second_answer", "status") == [
        ("Two dogs", "first", True, "2 dogs", "ok"),
        ("red", "first", False, "blue", "ok"),
        (None, "second", None, None, "error"),
        (None, None, None, None, "error"),
    ]


def test_costs_are_those_of_both_models() -> None:
    first = {"status": "ok", "answer": "a", "answer_score": 0.1, "warning": None, "prompt_tokens": 10, "cost": None}
    second = {"status": "ok", "answer": "b", "answer_score": 0.2, "warning": None, "prompt_tokens": 5, "cost": None}
    joined = CASCADE.joined(first, second)
    assert (joined["prompt_tokens"], joined["cost"], joined["answer"]) == (15, None, "b")


def test_the_least_certain_attribute_is_the_score_of_tags() -> None:
    scores = [("kind", "mug", 0.9), ("kind", "cup", 0.1), ("motif", "dog", 0.2), ("motif", "cat", 0.7)]
    outcome = {"tag_scores": [dict(zip(("attribute", "choice", "score"), each, strict=True)) for each in scores]}
    assert LeastTagScore(frozenset({"motif"}))(outcome) == pytest.approx(0.7)
    assert LeastTagScore(frozenset({"motif"}), {"kind": TemperatureMap(4.0)})(outcome) == pytest.approx(0.634, abs=1e-3)
    assert LeastTagScore(frozenset())({"tag_scores": None}) is None
    tags = Opinions("tags", LeastTagScore(frozenset()), Condition(0.5), second_decides=True)
    one = {"status": "ok", "tags": ["b:y", "a:x"], "tag_scores": [], "warning": None}
    assert tags.joined(one, {**one, "tags": ["a:x", "b:y"]})["agrees"]
    assert not tags.joined(one, {**one, "tags": ["a:x"]})["agrees"]


@pytest.mark.parametrize(("text", "asks"), [("score < 0.5", False), ("score<=0.5", True), (" score <= .50 ", True)])
def test_a_condition(text: str, asks: bool) -> None:
    condition = Condition.parse(text)
    assert condition.holds(0.5) is asks
    assert condition.holds(0.4)
    assert not condition.holds(0.6)
    assert condition.holds(None), "an unknown score is no certainty"


@pytest.mark.parametrize(
    "text", ["", "score > 0.5", "0.5", "score < 5", "score < -1", "answer_score < 0.5", "score < x"]
)
def test_a_text_that_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"--cascade .*expected a condition such as 'score < 0.6'"):
        Condition.parse(text)


def test_the_columns_stand_in_front_of_the_status(tmp_path: Path) -> None:
    script = {"a?": ("red", 0.9)}
    rows, _ = ask_both(tmp_path, one_question("a?"), Scripted(script), Scripted(script), CASCADE)
    names = rows.schema.names
    assert [name for name in names if name not in schema.ANSWER.names] == [
        *("decided_by", "agrees", "first_answer", "first_score", "second_answer", "second_score", "price"),
    ]
    assert names.index("second_score") + 1 == names.index("status")
    assert names[-1] == "price"

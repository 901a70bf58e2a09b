"""A teacher's replies as conversations, and a second model's verdict on them, without Ray."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.openai_server import asked, serving
from tests.unit.stages.test_decode import png, table_of
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.instruct.filters import Filters
from vqa_ray.instruct.form import instruct_schema
from vqa_ray.instruct.prompts import load_tasks
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.models.load import ModelOptions
from vqa_ray.schema import with_kept
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.decode import DecodeImages, image_key
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.first_opinion import FirstOpinion
from vqa_ray.stages.instruct import InstructConfig, InstructStage
from vqa_ray.stages.opinions import ColumnScore, Condition, Opinions
from vqa_ray.stages.prepare import EMBEDDED, PrepareImages
from vqa_ray.stages.questions import one_row_per_question
from vqa_ray.stages.usage import with_usage
from vqa_ray.stages.verify import VerifyConfig, VerifyStage
from vqa_ray.types import Answer, ChoiceScores, Image, Usage

TASKS = load_tasks(None)
PAIRS = "Question: What is it?\nAnswer: A cat.\nQuestion: Where?\nAnswer: On a mat."


class Teacher:
    """Replies by the first word of the request."""

    def __init__(self, replies: dict[str, str], finish: str = "stop", usage: Usage | None = None) -> None:
        self._replies, self._finish, self._usage = replies, finish, usage
        self.asked: list[list[str]] = []
        self.shown: list[Any] = []

    def answer(self, images: Sequence[Any], questions: Sequence[Sequence[str]], top_k: int) -> list[list[Answer]]:
        self.shown += images
        self.asked += [list(each) for each in questions]
        return [[self._answer(question) for question in asked] for asked in questions]

    def _answer(self, question: str) -> Answer:
        if "Question: ..." not in question:
            text = self._replies["text"]
        else:
            text = self._replies["talk" if "conversation" in question or "customer" in question else "pairs"]
        if text == "fail":
            raise ValueError("no")
        return Answer(((text, 0.5),), finish_reason=self._finish, usage=self._usage)  # type: ignore[arg-type]


class Judge:
    """Says yes with a probability that follows from the question."""

    def __init__(self, yes: float, usage: Usage | None = None) -> None:
        self.yes, self.usage, self.asked = yes, usage, list[str]()

    def score(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], choices: Any
    ) -> list[list[ChoiceScores]]:
        self.asked += [question for asked in questions for question in asked]
        assert all(each == ("yes", "no") for of_image in choices for each in of_image)
        return [[ChoiceScores((self.yes, 1 - self.yes), usage=self.usage) for _ in asked] for asked in questions]


def written(
    tmp_path: Path, teacher: Teacher, read: pa.Table, judge: Judge | None = None, *, metered: bool = False, **more: Any
) -> pa.Table:
    """The rows of a run of these; `metered` where one of them is an endpoint."""
    names = [str(name) for name in read["questions"][0].as_py()]
    config = InstructConfig(
        ModelOptions("fake:", is_beside_endpoint=metered),
        tuple(TASKS[name] for name in names),
        agreement=judge is not None,
        **more,
    )
    stage = InstructStage(config)
    stage._model = teacher
    decodes = [DecodeImages(FakeTransform(), journal=CrashJournal(name, tmp_path)) for name in ("a", "b")]
    fetch = FetchImages(ImageFetcher(2**20))
    ready = PrepareImages(fetch, decodes[0], carry=judge is not None, embedded=True)(read)
    form = with_kept(instruct_schema(agreement=judge is not None), [pa.field("price", pa.float64())])
    form = with_usage(form) if metered else form
    if judge is None:
        return one_row_per_question(stage(ready), form)
    verify = VerifyStage(VerifyConfig(ModelOptions("fake:"), 0.5))
    verify._model = judge  # type: ignore[assignment]
    opinions = Opinions("agreement", ColumnScore("agreement"), Condition(), second_decides=False)
    between = FirstOpinion(partial(_same, stage), opinions)(ready)
    return one_row_per_question(verify(PrepareImages(fetch, decodes[1])(between)), form)


def _same(stage: InstructStage) -> InstructStage:
    return stage


def rows_about(*images: bytes, tasks: Sequence[str]) -> pa.Table:
    return table_of([{"image": image, "questions": list(tasks)} for image in images])


def test_a_reply_that_would_show_an_image_is_malformed(tmp_path: Path) -> None:
    teacher = Teacher({"text": "A cat. <image> A mat."})
    (row,) = written(tmp_path, teacher, rows_about(png(), tasks=("detailed_description",))).to_pylist()
    assert row["error_code"] == "reply_malformed"
    assert row["conversation"] is None
    assert "holds <image>" in row["error_message"]


def test_replies_become_conversations(tmp_path: Path) -> None:
    teacher = Teacher({"text": "A cat on a mat.", "pairs": PAIRS, "talk": PAIRS})
    read = rows_about(png(), png(), b"broken", tasks=("detailed_description", "reasoning"))
    found = written(tmp_path, teacher, read).to_pylist()
    assert [(row["row_id"], row["task"]) for row in found] == [
        (100 + i, task) for i in range(3) for task in ("detailed_description", "reasoning")
    ]
    assert [row["error_code"] for row in found] == [None] * 4 + ["image_undecodable"] * 2
    assert [row["image"] is not None for row in found] == [True] * 6
    assert EMBEDDED not in found[0]
    assert found[0]["conversation"][1] == {"role": "assistant", "text": "A cat on a mat."}
    assert found[0]["conversation"][0]["text"] in {
        f"<image>\n{each.question}" for each in TASKS["detailed_description"].phrasings
    }
    assert [cell["text"] for cell in found[1]["conversation"]] == [
        "<image>\nWhat is it?",
        "A cat.",
        "Where?",
        "On a mat.",
    ]
    assert found[4]["conversation"] is None
    assert [row["price"] for row in found] == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]
    assert len(teacher.asked) == 1, "equal images go to the teacher once"


def test_each_fault_of_a_reply_costs_its_own_row(tmp_path: Path) -> None:
    tasks = ("detailed_description", "reasoning", "conversation")
    teacher = Teacher({"text": "I'm sorry, I cannot see it.", "pairs": "A cat.", "talk": PAIRS})
    found = written(tmp_path, teacher, rows_about(png(), tasks=tasks)).to_pylist()
    assert [row["error_code"] for row in found] == ["filtered_refusal", "reply_malformed", None]
    assert [row["reply"] for row in found] == ["I'm sorry, I cannot see it.", "A cat.", PAIRS]
    teacher = Teacher({"text": "fail", "pairs": PAIRS, "talk": PAIRS})
    found = written(tmp_path, teacher, rows_about(png(), tasks=tasks)).to_pylist()
    assert [row["error_code"] for row in found] == ["model_error", None, "filtered_duplicate"]
    assert found[0]["prompt_id"].startswith("detailed_description/")
    teacher = Teacher({"text": "A cat", "pairs": PAIRS, "talk": PAIRS}, finish="length")
    found = written(tmp_path, teacher, rows_about(png(), tasks=tasks[:2])).to_pylist()
    assert [row["error_code"] for row in found] == ["filtered_length", None]
    assert len(found[1]["conversation"]) == 2
    assert "the reply was cut: its last pair is left out" in found[1]["warning"]
    teacher = Teacher({"text": " ", "pairs": PAIRS, "talk": PAIRS})
    found = written(tmp_path, teacher, rows_about(png(), tasks=tasks[:2]), filters=Filters(min_words=3)).to_pylist()
    assert [row["error_code"] for row in found] == ["reply_malformed", "filtered_length"]


def test_nothing_is_asked_about_excluded_images(tmp_path: Path) -> None:
    teacher = Teacher({"text": "A cat."})
    read = rows_about(png(), png(20, 20), tasks=("detailed_description",))
    found = written(tmp_path, teacher, read, excluded=frozenset([image_key(png())])).to_pylist()
    assert [row["error_code"] for row in found] == ["filtered_excluded", None]
    assert len(teacher.asked) == 1


@pytest.mark.parametrize(("yes", "code"), [(0.75, None), (0.25, "filtered_disagreement")])
def test_a_second_model_judges_every_conversation(tmp_path: Path, yes: float, code: str | None) -> None:
    judge, teacher = Judge(yes), Teacher({"text": "I cannot see the image.", "pairs": PAIRS})
    read = rows_about(png(), png(20, 20), b"broken", tasks=("detailed_description", "reasoning"))
    found = written(tmp_path, teacher, read, judge).to_pylist()
    assert [row["error_code"] for row in found] == ["filtered_refusal", code] * 2 + ["image_undecodable"] * 2
    assert [row["agreement"] for row in found] == [None, yes] * 2 + [None] * 2
    assert [row["conversation"] is not None for row in found] == [False, code is None] * 2 + [False] * 2
    assert (
        judge.asked
        == [f"{PAIRS}\n\nIs everything that is answered here right, by what the image shows? Answer yes or no."] * 2
    )
    assert [row["row_id"] for row in found] == [100, 100, 101, 101, 102, 102]
    assert [row["price"] for row in found] == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]


def test_a_teacher_of_texts_alone_is_shown_no_image(tmp_path: Path) -> None:
    teacher = Teacher({"text": "A cat on a mat."})
    read = rows_about(png(), png(20, 30), tasks=("detailed_description",))
    found = written(tmp_path, teacher, read, shows_images=False).to_pylist()
    assert teacher.shown == [(), ()]
    assert all(row["conversation"][0]["text"].startswith("<image>") for row in found)


@pytest.mark.parametrize("yes", [0.75, 0.25, math.nan])
@pytest.mark.parametrize("of_teacher", [None, Usage(1, 30, 8, 0.25)])
def test_a_conversation_takes_what_both_models_took_for_it(
    tmp_path: Path, yes: float, of_teacher: Usage | None
) -> None:
    teacher = Teacher({"text": "A cat on a mat.", "pairs": PAIRS}, usage=of_teacher)
    judge = Judge(yes, Usage(1, 100, 1, 0.5))
    read = rows_about(png(), tasks=("reasoning",))
    (row,) = written(tmp_path, teacher, read, judge, metered=True).to_pylist()
    taken = (row["prompt_tokens"], row["completion_tokens"], row["cost"])
    assert taken == ((100, 1, 0.5) if of_teacher is None else (130, 9, 0.75))


def test_a_score_that_is_no_number_is_no_disagreement(tmp_path: Path) -> None:
    teacher = Teacher({"text": "A cat on a mat.", "pairs": PAIRS})
    (row,) = written(tmp_path, teacher, rows_about(png(), tasks=("reasoning",)), Judge(math.nan)).to_pylist()
    assert (row["error_code"], row["agreement"], row["conversation"]) == ("model_error", None, None)
    assert row["error_message"] == "the second model gave a score that is not a number"


def test_no_row_is_lost_or_doubled_where_an_endpoint_fails(tmp_path: Path) -> None:
    """2,000 rows; a tenth of the requests fails: for a while, for good, or with a refusal."""
    faults = ["429", "500", "cut", "wrong json", "refusal", "400"]

    def fault(number: int) -> str | None:
        return faults[number // 10 % len(faults)] if number % 10 == 3 else None

    def text(body: dict[str, Any]) -> str:
        return PAIRS if "Question: ..." in asked(body) else "A cat on a mat."

    names = ("detailed_description", "reasoning", "conversation", "creative")
    images = [{"image": png(colour=(i % 256, i // 256, 0)), "questions": list(names)} for i in range(500)]
    prepare = PrepareImages(
        FetchImages(ImageFetcher(2**20)),
        DecodeImages(FakeTransform(), journal=CrashJournal("a", tmp_path)),
        embedded=True,
    )
    form = with_kept(instruct_schema(agreement=False), [pa.field("price", pa.float64())])
    with serving(fault=fault, text=text) as server:
        options = ModelOptions("openai:tiny", endpoint=EndpointOptions(server.url, concurrency=16))
        stage = InstructStage(
            InstructConfig(options, tuple(TASKS[name] for name in names), Filters(max_similarity=1.0))
        )
        ready = prepare(table_of(images))
        parts = [stage(ready.slice(start, 32)) for start in range(0, 500, 32)]
        stage._model.close()
        assert server.asked_after_success == 0
    found = [row for part in parts for row in one_row_per_question(part, with_usage(form)).to_pylist()]
    assert len(found) == 2_000
    assert len({(row["row_id"], row["task"]) for row in found}) == 2_000
    codes = Counter(row["error_code"] for row in found)
    # The same questions were asked by `reasoning`, where that has not failed.
    assert set(codes) == {None, "filtered_duplicate", "endpoint_refused", "endpoint_failed"}
    assert 40 <= codes["endpoint_refused"] + codes["endpoint_failed"] <= 100
    assert all((row["conversation"] is None) == (row["error_code"] is not None) for row in found)

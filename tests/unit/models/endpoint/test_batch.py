"""Requests written for a batch, and rows made of the results that come back."""

from __future__ import annotations

import contextlib
import gc
import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.stages.test_answer import decoded
from vqa_ray.errors import RequestError, RowError
from vqa_ray.jobs.runtime.batch import RequestFiles
from vqa_ray.models.endpoint.batch import BatchRequests, check_results, row_of_batch
from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.messages import one_of
from vqa_ray.models.endpoint.model import EndpointModel
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.endpoint.question import Question
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.questions import one_row_per_question
from vqa_ray.stages.row_of_batch import RowsOfBatch

RUN = "abc123"
ROWS = decoded(
    [
        {"questions": ["a?", "b?"]},
        {"questions": ["a?"], "colour": (1, 2, 3)},
        {"status": "error", "error_code": "image_missing"},
    ]
)
Result = dict[str, Any]


def stage_of(results: Sequence[Path] = ()) -> RowsOfBatch:
    endpoint = EndpointOptions("http://localhost", budget=Budget(1.0, 2.0), results=tuple(map(str, results)))
    config = AnswerConfig(ModelOptions("openai:tiny", endpoint=endpoint), 1, multi_question=True)
    return RowsOfBatch(partial(AnswerStage, config), RUN, writes=not results)


def requests() -> list[Result]:
    return [json.loads(line) for lines in stage_of()(ROWS)["lines"].to_pylist() for line in lines]


def completion(request: Mapping[str, Any], **more: Any) -> Result:
    asked = request["body"]["messages"][-1]["content"][-1]["text"]
    choice = {"message": {"content": f"to {asked}"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"id": "x", "choices": [choice], "usage": usage} | more
    return {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def read(path: Path, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    stage = stage_of([path])
    inner: Any = stage._stage
    return one_row_per_question(stage(ROWS), inner._form).to_pylist()


def test_each_row_has_requests_under_its_own_name() -> None:
    table = stage_of()(ROWS)
    assert table["status"].to_pylist() == ["ok", "ok", "error"]
    assert [len(lines) for lines in table["lines"].to_pylist()] == [2, 1, 0]
    found = requests()
    assert len({each["custom_id"] for each in found}) == 3
    assert [each["custom_id"].split("-")[:2] for each in found] == [[RUN, "0"], [RUN, "0"], [RUN, "1"]]
    assert {(each["method"], each["url"]) for each in found} == {("POST", "/v1/chat/completions")}
    assert found[0]["body"]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert found == requests()


def test_rows_that_wait_for_their_results_keep_no_images() -> None:
    options = EndpointOptions("http://localhost")
    model = EndpointModel(BatchRequests(), "tiny", GenerationConfig(), options)
    image = np.zeros((2, 2, 3), np.uint8)
    kept = weakref.ref(image)
    with row_of_batch(RUN, 0), contextlib.suppress(RowError):
        model.answer([image], [["a?"]], 1)
    del image
    gc.collect()
    assert kept() is None


def test_the_same_words_held_to_a_schema_are_another_request() -> None:
    free = Question({"messages": [{"role": "user", "content": "a?"}]}, 1, 1)
    held = Question({**free.body, "response_format": one_of(("yes", "no"))}, 1, 1)
    with row_of_batch(RUN, 0) as row:
        BatchRequests().ask([free, held, free])
    assert list(row.requests.values()) == [free.body, held.body]


def test_results_become_the_rows_of_any_other_run(tmp_path: Path) -> None:
    rows = read(tmp_path / "results.jsonl", [completion(each) for each in reversed(requests())])
    assert [row["answer"] for row in rows] == ["to a?", "to b?", "to a?", None]
    assert [row["error_code"] for row in rows] == [None, None, None, "image_missing"]
    assert [row["cost"] for row in rows[:3]] == [pytest.approx(13e-6)] * 3


def _failed(request: Result, code: str = "context_length_exceeded") -> list[Result]:
    body = {"error": {"message": "not possible", "code": code}}
    return [{"custom_id": request["custom_id"], "response": {"status_code": 400, "body": body}, "error": None}]


def _expired(request: Result) -> list[Result]:
    error = {"code": "batch_expired", "message": "not within 24h"}
    return [{"custom_id": request["custom_id"], "response": None, "error": error}]


@pytest.mark.parametrize(
    ("lines", "code", "message"),
    [
        (lambda request: [], "endpoint_failed", "the batch has no result for request abc123-1-"),
        (_failed, "endpoint_failed", "batch: HTTP 400 context_length_exceeded not possible"),
        (
            partial(_failed, code="content_policy_violation"),
            "endpoint_refused",
            "batch: HTTP 400 content_policy_violation not possible",
        ),
        (_expired, "endpoint_failed", "batch: batch_expired not within 24h"),
        (lambda request: [*_expired(request), completion(request)], None, None),
        (lambda request: [completion(request)] * 2, None, None),
        (
            lambda request: [completion(request), completion(request, choices=[{"message": {"content": "other"}}])],
            "endpoint_failed",
            "the batch has 2 different results for request",
        ),
        (lambda request: [completion(request, choices=[])], "endpoint_failed", "the endpoint sent no chat completion"),
        (
            lambda request: [completion(request, choices=[{"message": {"content": None, "refusal": "I can't."}}])],
            "endpoint_refused",
            "I can't.",
        ),
    ],
)
def test_missing_failed_and_doubled_results_are_typed_rows(
    tmp_path: Path, lines: Callable[[Result], list[Result]], code: str | None, message: str | None
) -> None:
    first, second, third = requests()
    rows = read(tmp_path / "results.jsonl", [completion(first), completion(second), *lines(third)])
    assert [row["error_code"] for row in rows] == [None, None, code, "image_missing"]
    assert message is None or message in rows[2]["error_message"]


def test_results_of_other_runs_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    others = [{**completion(each), "custom_id": f"other-{number}"} for number, each in enumerate(requests())]
    read(path, [completion(requests()[0]), *others])
    assert check_results([str(path)], RUN) == (1, 3)
    read(path, others)
    with pytest.raises(RequestError, match="none of the 3 results is of this run"):
        check_results([str(path)], RUN)
    for line in ('{"custom_id": "a"}', '{"custom_id": "a", "response": "x"}', "[" * 100_000, "7", "{"):
        path.write_text(line + "\n")
        with pytest.raises(RequestError, match="line 1 is no result of a batch"):
            check_results([str(path)], RUN)
    with pytest.raises(RequestError, match="cannot be read: No such file or directory"):
        check_results([str(tmp_path / "none")], RUN)


def test_files_keep_within_the_limits_of_a_provider(tmp_path: Path) -> None:
    files = RequestFiles(str(tmp_path / "out"), 3, 10_000)
    for size in (10, 10, 10, 10, 9_995, 10):
        files.add(b"x" * size)
    with pytest.raises(RequestError, match="--batch-max-bytes 10000: a request has 10001 bytes"):
        files.add(b"x" * 10_001)
    files.flush()
    written = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in written] == [f"requests-0000{n}.jsonl" for n in (1, 2, 3, 4)]
    assert [file.stat().st_size for file in written] == [30, 10, 9_995, 10]
    with pytest.raises(RequestError, match="holds files already"):
        RequestFiles(str(tmp_path / "out"), 3, 10_000)

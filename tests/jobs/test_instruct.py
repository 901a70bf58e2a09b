"""`vqa-ray instruct`: what a teacher writes about images, as rows to train chat models on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.coloured import parquet_input, picture
from tests.helpers.openai_server import OpenaiServer, asked, serving, shown_images
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.readers import InputConfig, read_shard
from vqa_ray.readers.conversations import open_conversations

PAIRS = "Question: Which colour is it?\nAnswer: It is red.\n\n**Q2:** How large is it?\n**A2:** It fills the image."


def options(server: OpenaiServer) -> list[str]:
    return ["--model", "openai:tiny", "--base-url", server.url, "--concurrency", "8"]


def teacher(body: dict[str, Any]) -> str:
    return PAIRS if "Question: ..." in asked(body) else "A red picture of one colour."


@pytest.mark.usefixtures("local_ray")
def test_a_teacher_writes_conversations_that_can_be_read_again(tmp_path: Path) -> None:
    source, output, llava = parquet_input(tmp_path / "in", 8), tmp_path / "out", tmp_path / "llava.json"
    with serving(text=teacher) as server:
        more = ["--price-input", "1", "--price-output", "2", "--llava", str(llava), "--keep", "price"]
        more += ["--gallery", str(tmp_path / "page.html")]
        assert run_here("instruct", source, output, *options(server), *more) == 0
        assert all(len(shown_images(body)) == 1 for body in server.bodies[1:])
    found = rows(output).to_pylist()
    assert Counter(row["task"] for row in found) == dict.fromkeys(
        ("detailed_description", "reasoning", "conversation", "creative"), 8
    )
    talk = next(row for row in found if row["task"] == "conversation")
    # The reasoning about the same image has asked both questions before.
    assert talk["error_code"] == "filtered_duplicate"
    talk = next(row for row in found if row["task"] == "reasoning")
    assert [cell["text"] for cell in talk["conversation"]] == [
        "<image>\nWhich colour is it?",
        "It is red.",
        "How large is it?",
        "It fills the image.",
    ]
    described = [row for row in found if row["task"] == "detailed_description"]
    assert len({row["prompt_id"] for row in described}) > 1
    assert all(row["prompt"].startswith(row["conversation"][0]["text"].removeprefix("<image>\n")) for row in described)
    assert all((row["teacher"], row["seed"], row["prompt_tokens"]) == ("openai:tiny", 0, 90) for row in found)
    assert {row["price"] for row in found} == {number / 4 for number in range(8)}
    counts = manifest(output)
    assert (counts["rows"], counts["ok"], counts["errors"]) == (32, 24, {"filtered_duplicate": 8})
    records = json.loads(llava.read_text())
    assert len(records) == 24
    assert records[0]["conversations"][0]["from"] == "human"
    assert "detailed_description: " in (tmp_path / "page.html").read_text()
    read = open_conversations(InputConfig(str(output)))
    again = [row for shard in read.shards for table in read_shard(read, shard) for row in table.to_pylist()]
    assert sum(row["status"] == "ok" for row in again) == 24
    assert {row["image"] for row in again if row["status"] == "ok"} == {picture(number) for number in range(8)}


@pytest.mark.usefixtures("local_ray")
def test_no_row_is_lost_or_doubled_where_a_teacher_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = parquet_input(tmp_path / "in", 100, shards=4), tmp_path / "out"
    tasks = ("detailed_description", "reasoning", "conversation", "creative")
    # Of 20 requests two fail: for a while, for good, or with a reply that is of no use.
    faults = ["429", "500", "cut", "wrong json", "refusal", "400"]

    def fault(number: int) -> str | None:
        return faults[number // 10 % len(faults)] if number % 10 == 3 else None

    with serving(fault=fault, text=teacher) as server:
        command = ["instruct", source, output, *options(server), "--max-similarity", "1", "--max-error-fraction", "0.5"]
        assert run_here(*command) == 0
        assert server.asked_after_success == 0
        first = rows(output).to_pylist()
        # The endpoint is gone in the midst of a retry.
        server.fault = lambda number: "404"
        assert run_here(*command, "--retry-failed") == 2
        server.fault = lambda number: None
        assert run_here(*command, "--retry-failed") == 0
    assert "HTTP 404" in capsys.readouterr().err
    for found in (first, rows(output).to_pylist()):
        assert len(found) == 400
        assert Counter((row["row_id"], row["task"]) for row in found) == Counter(
            (number, task) for number in range(100) for task in tasks
        )
        assert all((row["conversation"] is None) == (row["status"] == "error") for row in found)
    failed = Counter(row["error_code"] for row in first)
    assert 3 <= failed["endpoint_refused"] <= 15
    assert set(failed) <= {None, "endpoint_refused", "endpoint_failed", "filtered_duplicate"}
    again = Counter(row["error_code"] for row in rows(output).to_pylist())
    assert set(again) <= {None, "filtered_duplicate"}


@pytest.mark.usefixtures("local_ray")
def test_a_second_model_and_an_evaluation_set_filter_rows(tmp_path: Path) -> None:
    source, held_out = parquet_input(tmp_path / "in", 8), parquet_input(tmp_path / "eval", 2, shards=1)
    output, base = tmp_path / "out", ["--tasks", "detailed_description,reasoning", "--exclude-images", str(held_out)]
    with serving(text=teacher) as server, serving(text=lambda body: "no", first={"No": 0.9, "yes": 0.05}) as judge:
        more = ["--agree", "openai:judge", "--second-option", f"base_url={judge.url}"]
        assert run_here("instruct", source, output, *options(server), *base, *more) == 0
        # One request more tries the endpoint; equal pixels share one.
        assert 8 <= len(server.bodies) - 1 <= 12
        question = asked(judge.bodies[-1])
    assert "Answer: " in question
    assert question.startswith("Question: ")
    found = rows(output).to_pylist()
    assert Counter(row["error_code"] for row in found) == {"filtered_excluded": 4, "filtered_disagreement": 12}
    assert all(row["image_id"] in ("i0", "i1") for row in found if row["error_code"] == "filtered_excluded")
    judged = [row for row in found if row["error_code"] == "filtered_disagreement"]
    assert all(row["agreement"] == pytest.approx(0.05 / 0.95) for row in judged)
    assert all(row["reply"] and row["conversation"] is None and row["prompt_tokens"] == 180 for row in judged)
    assert manifest(output)["second_model"]["reference"] == "openai:judge"


@pytest.mark.usefixtures("local_ray")
def test_a_text_model_writes_from_captions_and_boxes(tmp_path: Path) -> None:
    images = tmp_path / "in"
    images.mkdir()
    (images / "a.jpg").write_bytes(picture(0))
    boxes = [{"label": "cat", "x0": 0.1}]
    line = {"image": "a.jpg", "caption": "A cat sleeps.", "boxes": boxes}
    (images / "a.jsonl").write_text(json.dumps(line))
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("tasks: {poem: {questions: [Write a poem.], prompts: ['{question} Of {caption}.']}}")
    command = ["instruct", images / "a.jsonl", tmp_path / "out", "--prompts", str(prompts), "--context", "boxes"]
    with serving(text=lambda body: "Roses are red.") as server:
        assert run_here(*command, *options(server), "--text-only") == 0
        body = server.bodies[-1]
    assert shown_images(body) == []
    assert asked(body) == (
        'Write a poem. Of A cat sleeps..\n\nWhat is known about the image:\nboxes: [("label": "cat", "x0": 0.1)]'
    )
    (row,) = rows(tmp_path / "out").to_pylist()
    assert [cell["text"] for cell in row["conversation"]] == ["<image>\nWrite a poem.", "Roses are red."]
    assert row["image_uri"] == str(images / "a.jpg")
    assert row["image"] is None


@pytest.mark.usefixtures("local_ray")
def test_attributes_are_objects_by_a_schema(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}}))
    source, output = parquet_input(tmp_path / "in", 4), tmp_path / "out"
    replies = iter(['{"colour": "red"}'] * 3 + ['{"colour": "pink"}'] * 9)
    with serving(text=lambda body: next(replies) if "response_format" in body else "yes") as server:
        more = ["--tasks", "attributes", "--schema", str(schema), "--max-error-fraction", "1"]
        assert run_here("instruct", source, output, *options(server), *more) == 0
    found = rows(output).to_pylist()
    assert Counter(row["error_code"] for row in found) == {None: 3, "schema_violated": 1}
    question, answer = next(row["conversation"] for row in found if row["conversation"])
    assert question["text"].startswith("<image>\n")
    assert '- colour (one of "red", "blue"' in question["text"]
    assert json.loads(answer["text"]) == {"colour": "red"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--tasks", "poetry"], "--tasks poetry: unknown task 'poetry'"),
        (["--tasks", "attributes"], "name its fields with --schema FILE"),
        (["--prompts", "none.yaml"], "--prompts none.yaml: cannot be read: "),
        (["--text-only"], "--text-only: model fake is shown images"),
        (["--context", "a{b"], "--context a{b: a column is named by letters"),
        (["--context", "title"], "a question names {title}"),
        (["--max-words", "2", "--min-words", "3"], "--max-words 2: is less than --min-words 3"),
        (["--agree", "fake:", "--min-agreement", "2"], "--min-agreement: input should be less than or equal to 1"),
        (["--second-option", "device=cpu"], "--second-option: needs a second model, of --agree"),
        (["--exclude-images", "none"], "--exclude-images: "),
        (["--model", "bundled:catalog-vilt"], "chooses its answers; a teacher writes them"),
        (["--print-prompts"], "does not go with --print-prompts"),
        (["--llava", "."], "--llava .: is a directory; wanted a file"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], reason: str
) -> None:
    source = parquet_input(tmp_path / "in", 4)
    assert run_here("instruct", source, tmp_path / "out", *more) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert reason in line
    assert not (tmp_path / "out").exists()

"""Commands that ask a model behind an endpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import parquet_input
from tests.helpers.openai_server import ANSWER, OpenaiServer, asked, serving
from tests.jobs.commands import manifest, rows, run_here
from tests.jobs.kills import processes_below
from vqa_ray.errors import RequestError
from vqa_ray.jobs.evaluate.spec import EvaluateSpec
from vqa_ray.jobs.runtime.summary import summary_lines
from vqa_ray.jobs.search.query import verification_from_spec
from vqa_ray.jobs.search.spec import SearchSpec
from vqa_ray.models.score_meanings import ENDPOINT
from vqa_ray.runs.directory import RunDirectory

QUESTION = "which colour?"


def options(server: OpenaiServer) -> list[str]:
    return ["--model", "openai:tiny", "--base-url", server.url, "--concurrency", "4"]


@pytest.mark.usefixtures("local_ray")
def test_a_run_ends_when_the_endpoint_refuses_and_goes_on_when_it_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = parquet_input(tmp_path / "in", 24), tmp_path / "out"
    with serving(fault=lambda number: "404" if 12 < number < 30 else "500" if number % 5 == 1 else None) as server:
        command = ["answer", source, output, *options(server), "--question", QUESTION]
        assert run_here(*command) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "HTTP 404: The model tiny does not exist" in line
        server.fault = lambda number: None
        assert run_here(*command) == 0
    found = rows(output).to_pylist()
    assert sorted(row["row_id"] for row in found) == list(range(24))
    assert all((row["answer"], row["answer_score"]) == (ANSWER, pytest.approx(0.5)) for row in found)
    model = manifest(output)["model"]
    assert (model["family"], model["score_meaning"]) == ("openai", ENDPOINT)


@pytest.mark.usefixtures("local_ray")
def test_tags_come_from_first_tokens(tmp_path: Path) -> None:
    tags = tmp_path / "tags.yaml"
    tags.write_text('attributes:\n- {name: colour, question: "which colour?", choices: [red, blue]}\n')
    source, output = parquet_input(tmp_path / "in", 8), tmp_path / "out"
    with serving(first={"Red": 0.6, "blue": 0.2}) as server:
        assert run_here("tag", source, output, *options(server), "--tags", str(tags)) == 0
        assert asked(server.bodies[1]) == "which colour?\nAnswer with exactly one of these: red, blue."
    found = rows(output).to_pylist()
    assert all((row["colour"], row["colour_score"]) == ("red", pytest.approx(0.75)) for row in found)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--model", "openai:tiny"], "model openai:tiny: needs --base-url, the endpoint that serves it"),
        (["--model", "openai:", "--base-url", "http://localhost"], "wanted openai:NAME"),
        (["--model", "fake:", "--base-url", "http://localhost"], "--base-url: only with --model openai:NAME"),
        (["--model", "fake:", "--max-requests-per-minute", "7"], "--max-requests-per-minute: only with --model openai"),
        (["--base-url", "https://me:pw@host/v1"], "--base-url: holds credentials"),
        (["--base-url", "http://example.com/v1"], "or --allow-http in a network that you trust"),
        (["--base-url", "http://localhost", "--api-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY is not set"),
        (["--base-url", "http://localhost", "--dtype", "float32"], "--dtype: model openai:tiny: is decided by the end"),
        (
            ["--base-url", "http://localhost", "--num-gpus", "1"],
            "--num-gpus 1: model openai:tiny: the endpoint has the",
        ),
        (["--base-url", "http://localhost", "--engine", "vllm"], "--engine: model openai:tiny: is decided by the end"),
        (
            ["--base-url", "http://localhost", "--max-cost", "3", "--price-input", "1"],
            "--max-cost 3: needs --price-output, the price of a million tokens",
        ),
        (["--model", "fake:", "--max-total-tokens", "9"], "--max-total-tokens: only with --model openai:NAME"),
        (["--base-url", "http://localhost", "--concurrency", "0"], "--concurrency: input should be greater than"),
    ],
)
def test_bad_endpoints_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], reason: str
) -> None:
    source = parquet_input(tmp_path / "in", 4)
    model: list[Any] = [] if "--model" in more else ["--model", "openai:tiny"]
    assert run_here("answer", source, tmp_path / "out", *model, *more, "--question", QUESTION) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert reason in line
    assert "pw" not in line
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("local_ray")
def test_a_run_stops_at_its_budget_and_goes_on_with_a_larger_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = parquet_input(tmp_path / "in", 24), tmp_path / "out"
    # Equal questions about equal pixels would share a request.
    questions = pa.array([f"{number}: {QUESTION}" for number in range(24)])
    for file in source.iterdir():
        rows_of = pq.read_table(file)
        asked_of = questions.take(rows_of["row_id"])
        pq.write_table(rows_of.set_column(rows_of.schema.get_field_index("question"), "question", asked_of), file)
    with serving() as server:
        command = ["answer", source, output, *options(server), "--max-new-tokens", "10"]
        command += ["--price-input", "1", "--price-output", "2", "--num-actors", "1-2", "--batch-size", "4"]
        # A request takes 90 tokens at 1 and 10 at 2 of a million.
        assert run_here(*command, "--max-cost", "0.0006") == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert (
            "stopped: the budget has no room for another request: 0.00055 of --max-cost 0.0006 is spent, and " in line
        )
        assert "a request may take 0.00011 for 90 + 10 tokens; what is written stays" in line
        assert not (output / "_vqa_ray" / "manifest.json").exists()
        written = rows(output)
        # The probe is not counted.
        assert written.num_rows == len(server.bodies) - 1 == 5
        assert run_here(*command, "--max-cost", "0.00055") == 2
        assert "the budget is spent: 0.00055 of --max-cost 0.00055" in capsys.readouterr().err
        assert run_here(*command, "--max-total-tokens", "1200", "--max-cost", "1") == 1
        assert rows(output).num_rows == 12
        assert run_here(*command, "--max-cost", "1") == 0
        lines = summary_lines(manifest(output), "out")
        assert "  endpoint: 24 requests, 2,160 tokens read, 240 written, cost 0.00264" in lines
    found = rows(output).to_pylist()
    assert sorted(row["row_id"] for row in found) == list(range(24))
    assert {(row["prompt_tokens"], row["completion_tokens"]) for row in found} == {(90, 10)}
    assert manifest(output)["usage"] == {
        "requests": 24,
        "prompt_tokens": 2160,
        "completion_tokens": 240,
        "cost": pytest.approx(0.00264),
    }


@pytest.mark.usefixtures("local_ray")
def test_a_batch_is_written_and_its_results_finish_the_run(tmp_path: Path) -> None:
    source, output = parquet_input(tmp_path / "in", 12), tmp_path / "out"
    command = ["answer", source, output, "--model", "openai:tiny", "--base-url", "http://localhost", "--question", "a?"]
    requests, taken = tmp_path / "requests", tmp_path / "taken"
    taken.mkdir()
    (taken / "requests-00001.jsonl").write_text("{}")
    assert run_here(*command, "--batch-file", str(taken)) == 2
    assert not Path(RunDirectory(str(output)).record).exists(), "the output is free for another request"
    assert run_here(*command, "--batch-file", str(requests), "--batch-max-requests", "5") == 0
    written = [json.loads(line) for file in sorted(requests.iterdir()) for line in file.read_text().splitlines()]
    assert len(written) == 12
    assert len(list(requests.iterdir())) == 3
    results = tmp_path / "results.jsonl"
    body = {"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}]}
    lines = [{"custom_id": each["custom_id"], "response": {"status_code": 200, "body": body}} for each in written[1:]]
    results.write_text("\n".join(map(json.dumps, lines)))
    assert run_here(*command, "--batch-results", str(results), "--max-error-fraction", "0.5") == 0
    found = rows(output).to_pylist()
    assert sorted(row["row_id"] for row in found) == list(range(12))
    assert [row["error_code"] for row in found].count("endpoint_failed") == 1
    assert [row["answer"] for row in found].count("red") == 11


def test_a_search_is_verified_by_an_endpoint() -> None:
    spec = {"index": "i", "text": "a dog", "verify": '"a dog?"', "verify_model": "openai:tiny"}
    with serving(first={"yes": 0.9, "no": 0.1}) as server:
        check = verification_from_spec(SearchSpec(**spec, base_url=server.url, image_encoding="png"))
        assert check is not None
        image = np.zeros((8, 8, 3), np.uint8)
        ((scored,),) = check.model.load().score([image], [["a dog?"]], [[("yes", "no")]])
        assert scored.scores == pytest.approx((0.9, 0.1))
    with pytest.raises(RequestError, match="openai:tiny: needs --base-url"):
        verification_from_spec(SearchSpec(**spec))
    with pytest.raises(RequestError, match="--base-url: only with --verify-model openai:NAME"):
        verification_from_spec(SearchSpec(**(spec | {"verify_model": "fake:"}), base_url="http://localhost"))
    with pytest.raises(ValueError, match="--base-url: only with --verify"):
        SearchSpec(index="i", text="a dog", base_url="http://localhost")


def test_evaluate_takes_an_endpoint_with_its_model_alone() -> None:
    given = {"output": "o", "input": "i", "model": "openai:tiny", "base_url": "http://localhost", "concurrency": 2}
    assert EvaluateSpec(**given).concurrency == 2
    with pytest.raises(ValueError, match="--base-url: goes with --model"):
        EvaluateSpec(output="o", predictions="p", base_url="http://localhost")


@pytest.mark.parametrize(
    ("behaviour", "more", "reason"),
    [
        ({"key": "other"}, (), "HTTP 401: wanted a key; set OPENAI_API_KEY"),
        ({"fault": lambda number: "wrong json"}, (), "the endpoint sent no chat completion but '<html>busy"),
        ({}, ("--batch-results", "NONE"), "--batch-results NONE: cannot be read: No such file or directory"),
        (
            {},
            ("--batch-results", "NONE", "--batch-file", "DIR"),
            "--batch-file: writes requests, --batch-res",
        ),
        ({}, ("--batch-file", "DIR", "--retry-failed", "all"), "--batch-file: does not go with --retry-failed"),
        ({}, ("--batch-file", "DIR", "--agree", "fake:"), "--batch-file: does not go with --agree"),
    ],
)
def test_what_no_row_survives_is_one_line_before_any_work(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    behaviour: dict[str, Any],
    more: tuple[str, ...],
    reason: str,
) -> None:
    source, output = parquet_input(tmp_path / "in", 4), tmp_path / "out"
    with serving(**behaviour) as server:
        assert run_here("answer", source, output, *options(server), "--question", QUESTION, *more) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert reason in line
    assert not (output / "_vqa_ray" / "run.json").exists()


@pytest.mark.soak
def test_four_actors_keep_the_limits_and_a_new_one_remembers_them(tmp_path: Path) -> None:
    """Times as the server sees them, with an actor that is killed on the way; nothing lost, nothing asked twice."""
    source, output = tmp_path / "in", tmp_path / "out"
    parquet_input(source, 240, shards=8)
    for file in source.iterdir():
        given = pq.read_table(file)
        asked_of = pa.array([f"{row}: {QUESTION}" for row in given["row_id"].to_pylist()])
        pq.write_table(given.set_column(given.schema.get_field_index("question"), "question", asked_of), file)
    kinds = ("429", "500", "cut", "wrong json")
    with serving(fault=lambda number: kinds[number % 10] if number > 10 and number % 10 < 4 else None) as server:
        argv = [sys.executable, "-m", "vqa_ray", "answer", "--input", str(source), "--output", str(output)]
        argv += ["--model", "openai:tiny", "--base-url", server.url, "--num-actors", "4", "--batch-size", "16"]
        argv += ["--max-requests-per-minute", "300", "--concurrency", "16", "--max-error-fraction", "1"]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        while len(server.bodies) < 60 and process.poll() is None:
            time.sleep(0.2)
        models = [number for number, line in processes_below(process.pid).items() if b"(ModelActor)" in line]
        if models:
            os.kill(models[0], signal.SIGKILL)
        _, messages = process.communicate(timeout=600)
        assert process.returncode == 0, messages
        assert models
        for start in server.times:
            assert sum(start <= at < start + 10.0 for at in server.times) <= 50
    found = rows(output).to_pylist()
    assert sorted(row["row_id"] for row in found) == list(range(240))
    # What the killed process had asked for its batches is asked again.
    assert server.asked_after_success <= 48

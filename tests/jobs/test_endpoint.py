"""Commands that ask a model behind an endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.coloured import parquet_input
from tests.helpers.openai_server import ANSWER, OpenaiServer, asked, serving
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.models.score_meanings import ENDPOINT

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
            ["--base-url", "http://localhost", "--num-actors", "4", "--max-requests-per-minute", "3"],
            "--max-requests-per-minute 3: less than one for each of 4 actors; lower --num-actors",
        ),
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

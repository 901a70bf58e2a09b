"""Published benchmarks from their files to their measures: answered, evaluated, written as submissions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.commands import manifest, rows, run_here
from tests.unit.readers.benchmarks.samples import SAMPLES
from tests.unit.readers.inputs import write_jsonl
from vqa_ray.jobs.cli import main

pytestmark = pytest.mark.usefixtures("local_ray")


def evaluated(output: Path, *options: str) -> dict[str, Any]:
    assert main(["evaluate", *options, "--output", str(output)]) == 0
    found: dict[str, Any] = json.loads((output / "evaluation.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize(
    ("layout", "answers"), [("pope", 2), ("mme", 4), ("mmbench-circular", 5), ("gqa", 2), ("chartqa", 1)]
)
def test_the_files_of_a_benchmark_are_input_and_truth(layout: str, answers: int, tmp_path: Path) -> None:
    files = SAMPLES[layout.removesuffix("-circular")](tmp_path / "files")
    run = tmp_path / "run"
    named = ("--input-format", layout) if layout == "mmbench-circular" else ()
    assert run_here("answer", files, run, *named) == 0
    assert manifest(run)["input"]["format"] == layout
    assert rows(run).num_rows == answers
    kept = evaluated(tmp_path / "kept", "--predictions", str(run))
    read = evaluated(tmp_path / "read", "--predictions", str(run), "--truth", str(files), *named)
    assert kept["protocol"] == read["protocol"] == layout
    assert kept["rows"]["truth"] == kept["rows"]["predictions"] == answers
    assert kept["key"] == read["key"] == "question_id"
    assert (kept["rows"], kept["measures"]) == (read["rows"], read["measures"])


def test_a_model_is_evaluated_on_a_benchmark_in_one_go(tmp_path: Path) -> None:
    files = SAMPLES["docvqa"](tmp_path / "files")
    template = ("--question-template", "In short: {question}")
    found = evaluated(tmp_path / "out", "--model", "fake:", "--input", str(files), *template)
    assert (found["protocol"], found["rows"]["judged"]) == ("anls", 1)
    assert rows(tmp_path / "out" / "run")["question"].to_pylist() == ["In short: What is the date?"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [((), "--protocol: wanted, because"), (("--protocol", "vqa"), "no protocol 'vqa'; did you mean")],
)
def test_an_unknown_protocol_is_refused_before_anything_is_answered(
    options: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_jsonl(tmp_path / "own.jsonl", [{"image": "a.jpg", "question": "q?", "answer": "yes"}])
    output = tmp_path / "out"
    assert main(["evaluate", "--model", "fake:", "--input", str(own), "--output", str(output), *options]) == 2
    assert reason in capsys.readouterr().err
    assert not output.exists()


def test_a_question_template_is_asked_and_recorded(tmp_path: Path) -> None:
    files = SAMPLES["mmbench"](tmp_path / "files")
    template = ("--question-template", "{question} ({options})")
    assert run_here("answer", files, tmp_path / "run", *template) == 0
    assert rows(tmp_path / "run")["question"].to_pylist()[1] == "And now? (A. one\nB. two)"
    assert run_here("answer", files, tmp_path / "run") == 2


def test_a_run_is_written_as_a_submission(tmp_path: Path) -> None:
    assert run_here("answer", SAMPLES["gqa"](tmp_path / "files"), tmp_path / "run") == 0
    output = tmp_path / "gqa.json"
    assert main(["export", str(tmp_path / "run"), "--to", "submission:gqa", "--output", str(output)]) == 0
    assert [entry["questionId"] for entry in json.loads(output.read_text("utf-8"))] == ["201", "202"]

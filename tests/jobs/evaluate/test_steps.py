"""The steps of `vqa-ray evaluate`: here, in processes, on Ray, stopped and gone on with; the result is the same."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import parquet_input
from tests.helpers.evaluations import evaluated, write_evaluation
from tests.helpers.written_runs import write_run
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.evaluate import executor
from vqa_ray.jobs.evaluate.spec import EvaluateSpec
from vqa_ray.jobs.evaluate.terminal import print_record, shown_measures
from vqa_ray.judging import work
from vqa_ray.judging.record import EvaluationRecord, Group, Measure
from vqa_ray.storage.filesystem import copy_file, exists

ROWS = 40


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options of an evaluation in five partitions."""
    monkeypatch.setattr(work, "PARTITION_ROWS", 8)
    rows = [
        {"question_id": str(n), "image_id": str(n // 3), "answer": "yes" if n % 3 else "no", "answer_score": 0.5}
        for n in range(ROWS)
    ]
    run = write_run(tmp_path / "run", rows, files=3)
    truth = tmp_path / "truth.jsonl"
    truth.write_text(
        "".join(json.dumps({"question_id": n, "label": "yes", "split": "ab"[n % 2]}) + "\n" for n in range(1, ROWS + 1))
    )
    return ["evaluate", "--predictions", run, "--truth", str(truth), "--protocol", "pope", "--quiet"]


def result(output: Path) -> tuple[Any, list[dict[str, Any]]]:
    return json.loads((output / "evaluation.json").read_text()), pq.read_table(output / "rows").to_pylist()


def test_processes_and_ray_give_the_same(
    tmp_path: Path, sides: list[str], local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*sides, "--output", str(tmp_path / "here")]) == 0
    monkeypatch.setattr(executor, "_ROWS_FOR_PROCESSES", 0)
    assert main([*sides, "--output", str(tmp_path / "processes")]) == 0
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert main([*sides, "--output", str(tmp_path / "ray")]) == 0
    assert result(tmp_path / "here") == result(tmp_path / "processes") == result(tmp_path / "ray")
    assert len(list((tmp_path / "here" / "rows").iterdir())) == 5
    assert [file.name for file in (tmp_path / "here" / "_vqa_ray").iterdir()] == ["evaluate.json", "writers"]


def test_a_stopped_evaluation_goes_on(tmp_path: Path, sides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*sides, "--output", str(tmp_path / "whole")]) == 0
    judge, judged = work.Work.judge, []

    def stopped(self: work.Work, partition: int) -> object:
        if partition == 3 and len(judged) < 4:
            judged.append(partition)
            raise KeyboardInterrupt
        judged.append(partition)
        return judge(self, partition)

    monkeypatch.setattr(work.Work, "judge", stopped)
    assert main([*sides, "--output", str(tmp_path / "out")]) == 130
    assert not (tmp_path / "out" / "evaluation.json").exists()
    written = (tmp_path / "out" / "rows" / "part-00000.parquet").stat().st_mtime_ns
    assert main([*sides, "--output", str(tmp_path / "out")]) == 0
    assert result(tmp_path / "out") == result(tmp_path / "whole")
    assert (tmp_path / "out" / "rows" / "part-00000.parquet").stat().st_mtime_ns == written


def test_the_same_command_again_prints_what_is_there(
    tmp_path: Path, sides: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*sides, "--output", str(tmp_path / "out")]) == 0
    first = capsys.readouterr().out
    before = (tmp_path / "out" / "evaluation.json").stat().st_mtime_ns
    assert main([*sides, "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "out" / "evaluation.json").stat().st_mtime_ns == before


def test_other_truth_is_evaluated_anew(tmp_path: Path, sides: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*sides, "--output", str(tmp_path / "out")]) == 0
    truth = tmp_path / "truth.jsonl"
    truth.write_text(truth.read_text().replace('"yes"', '"no"'))
    assert main([*sides, "--output", str(tmp_path / "out")]) == 0
    assert "the inputs have changed since" in capfd.readouterr().err
    content, rows = result(tmp_path / "out")
    assert {row["truth"] for row in rows if row["score"] is not None} == {"no"}
    assert content["rows"]["truth"] == ROWS


def test_sides_and_output_in_a_bucket(tmp_path: Path, sides: list[str], s3_session: str) -> None:
    place = f"{s3_session}/evaluate"
    for file in tmp_path.rglob("*"):
        if file.is_file():
            copy_file(str(file), f"{place}/{file.relative_to(tmp_path)}")
    there = [part.replace(str(tmp_path), place) for part in sides]
    assert main([*sides, "--output", str(tmp_path / "out")]) == 0
    assert main([*there, "--output", f"{place}/out"]) == 0
    assert not exists(f"{place}/out/_vqa_ray/work")
    here, found = EvaluationRecord.read(str(tmp_path / "out")), EvaluationRecord.read(f"{place}/out")
    assert found is not None
    assert here is not None
    assert found.measures == here.measures


def test_a_model_is_evaluated_in_one_go(tmp_path: Path, local_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    source = parquet_input(tmp_path / "in", 12)
    command = ["evaluate", "--model", "fake:", "--input", str(source), "--question", "what colour is it?"]
    command += ["--protocol", "exact-match", "--column", "answers=colour", "--output", str(tmp_path / "out"), "--quiet"]
    assert main(command) == 0
    first = capsys.readouterr().out
    record = EvaluationRecord.read(str(tmp_path / "out"))
    assert record is not None
    assert (record.rows["judged"], record.first.value, record.key) == (12, 100.0, "image_id")
    assert main(command) == 0
    assert capsys.readouterr().out == first


def test_random_letters_are_drawn_in_the_order_of_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official parser's number depends on the order, however many rows there are."""
    monkeypatch.setattr(work, "PARTITION_ROWS", 8)
    rows = [{"question_id": str(n), "answer": "?", "answer_score": 0.5} for n in range(ROWS)]
    run = write_run(tmp_path / "run", rows, files=3)
    lines = [{"question_id": n, "options": ["one", "two", "three"], "answer": "A"} for n in reversed(range(ROWS))]
    (tmp_path / "truth.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ["evaluate", "--predictions", run, "--truth", str(tmp_path / "truth.jsonl"), "--quiet"]
    assert main([*command, "--protocol", "official-random", "--output", str(tmp_path / "out")]) == 0
    draw = random.Random(42)
    found = {row["key"]: row["read_as"] for row in result(tmp_path / "out")[1]}
    assert [found[str(line["question_id"])] for line in lines] == [draw.choice("ABC") for _ in lines]


def test_a_terminal_shows_some_20_measures_and_says_where_the_rest_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measures = [Measure(f"m{n}", 0.5, 0.4, 0.6, 90, 90) for n in range(40)]
    measures += [
        Measure(name, 0.5, 0.4, 0.6, n + 1, 1, Group(column, f"g{n}"))
        for column in ("a", "b")
        for n in range(30)
        for name in ("m0", "m1")
    ]
    record = write_evaluation(tmp_path, [evaluated("1", "a", "a")], headline="m0", measures=measures)
    shown = shown_measures(record)
    assert [each.name for each in shown if each.group is None] == [f"m{n}" for n in range(6)]
    assert [each.group for each in shown[6:]] == [Group(column, f"g{n}") for column in "ab" for n in range(23, 30)]
    assert {each.name for each in shown[6:]} == {"m0"}
    assert shown_measures(replace(record, measures=measures[26:46])) == measures[26:46]
    spec = EvaluateSpec(predictions="run", output=str(tmp_path))
    print_record(record, spec)
    assert "note: 140 more measures are in measures.parquet and evaluation.json" in capsys.readouterr().out

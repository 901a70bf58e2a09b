"""`vqa-ray plan`: a sample of a command, which leaves nothing behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.helpers.written_runs import write_run
from vqa_ray.errors import BudgetSpentError
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.plan import command
from vqa_ray.jobs.plan.command import measured
from vqa_ray.jobs.plan.sample_directory import beside, sample_directory
from vqa_ray.jobs.plan.spec import PlanSpec
from vqa_ray.jobs.spec.instruct import InstructSpec
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.progress import Point, Progress


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(8):
        Image.fromarray(np.full((20, 20, 3), 20 * number, np.uint8)).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


def test_a_plan_of_answers(local_ray: None, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = ("answer", "--input", str(images), "--output", f"{tmp_path}/out", "--model", "fake:", "--question", "what?")
    assert main(["plan", "--sample-s", "5", "--rows", "80", "--json", *job]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["rows"], plan["sample_rows"], plan["actors"]) == (80, 8, 1)
    assert plan["cpu_s_per_row"].keys() == {"read", "decode", "write"}
    assert plan["input_bytes"] == sum(each.stat().st_size for each in images.iterdir())
    assert plan["output_bytes"] > 0
    assert "too short" in plan["warnings"][0]
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("s3://bucket/", r"s3://bucket/plan-\w{8}"),
        ("s3://bucket/tags/", r"s3://bucket/tags-plan-\w{8}"),
        ("/tags", r"/tags-plan-\w{8}"),
        ("/", r"/plan-\w{8}"),
    ],
)
def test_a_sample_lies_beside_the_output_and_in_its_bucket(output: str, expected: str) -> None:
    assert re.fullmatch(expected, beside(output))


def test_a_sample_takes_the_directories_along_that_it_made(tmp_path: Path) -> None:
    for is_shared, left in ((False, []), (True, ["a", "a/other", "a/other/file"])):
        with sample_directory(f"{tmp_path}/a/b/out/") as directory:
            Path(directory, "_vqa_ray").mkdir(parents=True)
            if is_shared:
                (tmp_path / "a" / "other").mkdir()
                (tmp_path / "a" / "other" / "file").touch()
        assert sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*")) == left


@pytest.mark.parametrize(("rows", "error"), [(3, None), (0, BudgetSpentError)])
def test_a_sample_whose_budget_ends_is_measured_and_writes_no_other_file(
    rows: int, error: type[Exception] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[InstructSpec] = []

    def run(spec: InstructSpec) -> None:
        ran.append(spec)
        write_run(Path(spec.output), [{"source_key": number} for number in range(rows)])
        history = [Point(0.0, 0), Point(1.0, rows)]
        Progress("r", 1, 0.0, 1.0, 0, rows, history=history).write(RunDirectory(spec.output).progress)
        raise BudgetSpentError("the budget is spent")

    monkeypatch.setattr(command, "imported", lambda _: SimpleNamespace(run=run))
    line = ["instruct", "--input", "in", "--output", f"{tmp_path}/out", "--model", "fake:", "--llava", f"{tmp_path}/l"]
    spec = PlanSpec(job=tuple(line))
    if error is None:
        command.run(spec)
    else:
        with pytest.raises(error):
            command.run(spec)
    assert ran[0].llava is None
    assert not [*tmp_path.iterdir()]


def test_a_row_of_several_questions_is_one_row_of_the_sample(tmp_path: Path) -> None:
    rows = [{"source_key": number // 2, "question_index": number % 2} for number in range(8)]
    output = write_run(tmp_path / "run", rows)
    Progress("r", 1, 0.0, 1.0, 0, 4).write(RunDirectory(output).progress)
    sample = measured(output, 60.0)
    assert sample.rows_written == sample.progress.rows == 4
    assert sample.bytes_written == sum(each.stat().st_size for each in (tmp_path / "run").glob("*.parquet"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["models"], "models: is not planned; wanted a command that writes a row per image"),
        (
            ["answer", "--input", "a", "--output", "b", "--model", "fake:", "--update"],
            "--update: does not go with plan; leave it out",
        ),
        (["answr"], "unknown command 'answr'; did you mean answer?"),
    ],
)
def test_what_is_not_planned(line: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *line]) == 2
    assert said in capsys.readouterr().err

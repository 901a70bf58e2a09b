"""`vqa-ray plan`: a sample of a command, which leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.written_runs import write_run
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.plan.command import measured
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.progress import Progress


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

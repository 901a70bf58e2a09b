"""A row over which the model hangs ends as `row_crashed`; its neighbours are answered, and the run comes to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.coloured import NAMES, picture
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.models.fake.model import HANG

pytestmark = pytest.mark.usefixtures("local_ray")


def hanging_input(directory: Path) -> Path:
    """24 rows, of which one hangs the model."""
    lines = []
    for number in range(24):
        (directory / f"{number}.jpg").write_bytes(picture(number))
        question = HANG if number == 9 else "what colour is it?"
        lines.append({"row_id": number, "image_uri": f"{number}.jpg", "question": question})
    source = directory / "in.jsonl"
    source.write_text("\n".join(map(json.dumps, lines)))
    return source


def test_a_row_that_hangs_costs_that_row_alone(tmp_path: Path) -> None:
    source = hanging_input(tmp_path)
    assert run_here("answer", source, tmp_path / "out", "--row-timeout-s", "2", "--batch-size", "8") == 0
    answered = rows(tmp_path / "out").to_pylist()
    assert [row["answer"] for row in answered] == [None if n == 9 else NAMES[n % len(NAMES)] for n in range(24)]
    assert answered[9]["error_code"] == "row_crashed"
    assert answered[9]["error_message"].endswith("or took more than 2 s (--row-timeout-s)")
    assert manifest(tmp_path / "out")["errors"] == {"row_crashed": 1}


def test_a_run_in_which_nothing_moves_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, output = hanging_input(tmp_path), tmp_path / "out"
    small = ("--batch-size", "8", "--rows-per-file", "8")
    assert run_here("answer", source, output, *small, "--row-timeout-s", "0", "--no-progress-timeout-s", "6") == 1
    assert "nothing has moved for 6 s (--no-progress-timeout-s)" in capfd.readouterr().err
    assert run_here("answer", source, output, *small, "--row-timeout-s", "2") == 0
    assert rows(output)["error_code"].to_pylist() == ["row_crashed" if n == 9 else None for n in range(24)]

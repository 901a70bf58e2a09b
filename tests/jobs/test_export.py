"""`vqa-ray export`: what other tools read of it are the rows of the run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from jobs.cli import main
from tests.unit.browse.site import table_of, write_run
from vqa_ray import schema

ROWS = [
    {"question": 'a "red", mug?\n', "answer": "yes", "answer_score": 0.5, "answers": [{"answer": "yes", "score": 0.5}]},
    {"status": "error", "error_code": "image_missing", "error_message": "gone"},
    {"question": "größer?", "answer": "", "answer_score": 0.25, "answers": []},
]


@pytest.fixture
def run(tmp_path: Path) -> str:
    return write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, ROWS))


def test_csv_has_the_rows_that_are_ok(run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "rows.csv"
    assert main(["export", run, "--to", "csv", "--output", str(output)]) == 0
    with output.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["question"] for row in found] == ['a "red", mug?\n', "größer?"]
    assert json.loads(found[0]["answers"]) == [{"answer": "yes", "score": 0.5}]
    assert list(found[0]) == schema.ANSWER.names
    assert "2 rows → " in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["rows.csv"]


def test_json_lines_hold_the_failed_rows_on_request(run: str, tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    assert main(["export", run, "--to", "jsonl", "--output", str(output), "--errors"]) == 0
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["error_code"] for row in found] == [None, "image_missing", None]
    assert found[2]["answer_score"] == 0.25


def test_what_cannot_be_exported_is_refused(run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = ("--output", str(tmp_path / "rows"))
    assert main(["export", run, "--to", "xml", *output]) == 2
    assert "--to xml: unknown format; wanted csv or jsonl" in capfd.readouterr().err
    assert main(["export", str(tmp_path / "none"), "--to", "csv", *output]) == 2
    assert "neither a finished run nor an index" in capfd.readouterr().err

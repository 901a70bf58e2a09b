"""Submissions: the forms that servers and official scripts take, with every question in them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.export.submissions import FORMS, submission_columns, write_submission

ROWS = [
    {"question_id": "12", "question": "Two?", "answer": "no", "status": "ok", "source_key": 1},
    {
        "question_id": "11",
        "question": "One?",
        "answer": "yes, größer",
        "status": "ok",
        "source_key": 0,
        "question_index": 0,
    },
    {
        "question_id": "13",
        "question": "Three?",
        "answer": None,
        "status": "error",
        "source_key": 2,
        "question_index": 0,
    },
]
ANSWERS = [("11", "yes, größer"), ("12", "no"), ("13", "")]


def written(name: str, path: Path, rows: list[dict[str, Any]] = ROWS) -> str:
    summary = write_submission(name, pa.Table.from_pylist(rows), path, "RUN")
    assert summary == f"{len(rows)} answers for {name}, 1 of them empty because the row failed"
    return (path / "rows").read_text("utf-8")


@pytest.mark.parametrize("name", ["vqa-v2", "okvqa", "textvqa"])
def test_the_list_of_the_vqa_servers(name: str, tmp_path: Path) -> None:
    assert json.loads(written(name, tmp_path)) == [{"question_id": int(i), "answer": a} for i, a in ANSWERS]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vizwiz", [{"image": i, "answer": a} for i, a in ANSWERS]),
        ("docvqa", [{"questionId": int(i), "answer": a} for i, a in ANSWERS]),
        ("gqa", [{"questionId": i, "prediction": a} for i, a in ANSWERS]),
        ("mmmu", dict(ANSWERS)),
    ],
)
def test_json_forms(name: str, expected: object, tmp_path: Path) -> None:
    assert json.loads(written(name, tmp_path)) == expected


def test_lines_in_the_order_of_the_questions(tmp_path: Path) -> None:
    said = [json.loads(line) for line in written("pope", tmp_path).splitlines()]
    assert said == [{"question": q, "answer": a} for q, (_, a) in zip(("One?", "Two?", "Three?"), ANSWERS, strict=True)]
    said = [json.loads(line) for line in written("seed-bench", tmp_path).splitlines()]
    assert said == [{"question_id": i, "prediction": a} for i, a in ANSWERS]


def test_questions_without_ids_have_a_file_for_each_split(tmp_path: Path) -> None:
    splits = ("popular", "random", "popular")
    rows = [{**row, "split": split} for row, split in zip(ROWS, splits, strict=True)]
    summary = write_submission("pope", pa.Table.from_pylist(rows), tmp_path, "RUN")
    assert summary == "3 answers for pope, 1 of them empty because the row failed; a file for each of its 2 splits"
    found = {
        path.name: [json.loads(line)["question"] for line in path.read_text().splitlines()]
        for path in tmp_path.iterdir()
    }
    assert found == {"rows-random": ["One?"], "rows-popular": ["Two?", "Three?"]}
    assert "\n" in written("pope", tmp_path, [{**row, "split": "random"} for row in ROWS])


def test_the_table_of_mmbench(tmp_path: Path) -> None:
    rows = [{**row, "choices": ["x\ty", "z"], "category": "ocr"} for row in ROWS]
    found = list(csv.DictReader(written("mmbench", tmp_path, rows).splitlines(), delimiter="\t"))
    assert list(found[0]) == ["index", "question", "A", "B", "C", "D", "prediction", "category"]
    assert found[0] == {
        **{"index": "11", "question": "One?", "A": "x\ty", "B": "z", "C": "", "D": ""},
        **{"prediction": "yes, größer", "category": "ocr"},
    }


def test_the_folder_of_mme(tmp_path: Path) -> None:
    places = [("OCR", "OCR/2.jpg", "No"), ("OCR", "OCR/1.jpg", "Yes"), ("count", "count/1.jpg", "Yes")]
    rows = [
        {**row, "category": task, "image_id": image, "truth": truth}
        for row, (task, image, truth) in zip(ROWS, places, strict=True)
    ]
    rows[0]["answer"] = "no,\nthere\tis none"
    write_submission("mme", pa.Table.from_pylist(rows), tmp_path, "RUN")
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {
        "OCR.txt": "1.jpg\tOne?\tYes\tyes, größer\n2.jpg\tTwo?\tNo\tno, there is none\n",
        "count.txt": "1.jpg\tThree?\tYes\t\n",
    }
    with pytest.raises(
        RequestError, match="RUN: --to submission:mme states 'category', which answer --input-format mme"
    ):
        submission_columns("mme", schema.ANSWER, "RUN")


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (["1", "1", "2"], "question_id '1' has several rows; the form takes one answer for each"),
        (["1", None, "2"], "1 row has no question_id"),
        (["1", "b", "2"], "question_id 'b' is no whole number, as vqa-v2 has them"),
    ],
)
def test_ids_that_a_server_would_refuse(ids: list[str | None], reason: str, tmp_path: Path) -> None:
    rows = [{**row, "question_id": each} for row, each in zip(ROWS, ids, strict=True)]
    with pytest.raises(RequestError, match=reason):
        write_submission("vqa-v2", pa.Table.from_pylist(rows), tmp_path, "RUN")


def test_only_answers_can_be_submitted() -> None:
    assert submission_columns("pope", schema.ANSWER, "RUN")[:3] == ["question_id", "question", "answer"]
    with pytest.raises(RequestError, match="RUN: --to submission takes a run of answer with one row per question"):
        submission_columns("pope", schema.ANSWERS, "RUN")
    assert "pope" in FORMS

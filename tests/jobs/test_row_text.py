"""Text beside the photo, through whole runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import picture
from tests.jobs.commands import manifest, rows, run_here

pytestmark = pytest.mark.usefixtures("local_ray")

TITLES = ["red mug", "<image> a\nmug", None, "mug " * 100]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    columns = {"image": [picture(number) for number in range(4)], "title": TITLES, "colour": list("rgbk")}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def test_questions_are_asked_and_written_with_the_text_of_each_row(source: Path, tmp_path: Path) -> None:
    questions = ("--question", "is it {title}?", "--question", "what colour is {{it}}?")
    options = ("--keep", "title", "--max-error-fraction", "1", "--text-budget", "8")
    assert run_here("answer", source, tmp_path / "out", *questions, *options) == 0
    written = sorted(rows(tmp_path / "out").to_pylist(), key=lambda row: (row["source_key"], row["question_index"]))
    assert [row["question"] for row in written if row["question_index"] == 0] == [
        "is it red mug?",
        "is it < image > a mug?",
        "is it {title}?",
        f"is it {' '.join(['mug'] * 8)}?",
    ]
    assert {row["question"] for row in written if row["question_index"] == 1} == {"what colour is {it}?"}
    assert [row["error_code"] for row in written[::2]] == [None, None, "text_missing", None]
    assert written[4]["error_message"] == "column 'title', which a question names, is null"
    assert written[6]["warning"] == written[7]["warning"] == "title: cut to about 8 tokens (--text-budget)"
    assert [row["title"] for row in written[::2]] == TITLES
    assert manifest(tmp_path / "out")["command"]["question"] == [questions[1], questions[3]]
    assert "beside" not in " ".join(rows(tmp_path / "out").column_names)


def test_the_shipped_taxonomy_checks_listings(source: Path, tmp_path: Path) -> None:
    assert run_here("tag", source, tmp_path / "out", "--tags", "listing-check", "--max-error-fraction", "1") == 0
    written = sorted(rows(tmp_path / "out").to_pylist(), key=lambda row: row["source_key"])
    assert [row["shows_product"] in ("yes", "no") for row in written] == [True, True, False, True]
    assert isinstance(written[0]["problems"], list)
    assert written[2]["error_code"] == "text_missing"


def test_expressions_and_captions_name_columns(source: Path, tmp_path: Path) -> None:
    options = ("--max-error-fraction", "1")
    assert run_here("retrieve", source, tmp_path / "found", "--where", '"is it {title}?"', *options) == 0
    found = rows(tmp_path / "found")
    assert {score["question"] for cell in found["scores"].to_pylist() for score in cell or ()} == {"is it {title}?"}
    assert sorted(code or "" for code in found["error_code"].to_pylist()) == ["", "", "", "text_missing"]
    assert run_here("caption", source, tmp_path / "captions", "--prompt", "{title}:", *options) == 0
    captions = {row["caption"] for row in rows(tmp_path / "captions").to_pylist() if row["status"] == "ok"}
    assert any(caption.startswith("red mug:") for caption in captions)


def test_a_column_that_is_not_there_is_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("answer", source, tmp_path / "out", "--question", "is it {name}?") == 2
    assert "a question names {name} (for the braces themselves: {{name}}): no such column" in capsys.readouterr().err
    assert run_here("answer", source, tmp_path / "out", "--question", "is it a mug?", "--text-budget", "9") == 2
    assert "--text-budget: no question names a column of the input" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""`vqa-ray demo` as a newcomer runs it, with the fake model and few products."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from vqa_ray.index.reader import open_index
from vqa_ray.jobs.cli import main
from vqa_ray.judging.record import EvaluationRecord

COUNT = 12


def arguments(*more: str) -> list[str]:
    """A demo on fake models, into `demo` here."""
    model = () if "--model" in more else ("--model", "fake:")
    return ["demo", *model, "--encoder", "fake:", "--output", "demo", *more]


def run(directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vqa_ray.jobs.cli", *arguments(*more)]
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=150, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("demo")
    done = run(directory, "--count", str(COUNT), "--quiet")
    assert done.returncode == 0, done.stderr
    return directory / "demo", done.stdout


def test_every_product_and_every_damaged_row_is_there_once(finished: tuple[Path, str]) -> None:
    place, _ = finished
    products = pq.read_table(place / "products")
    for name in ("tags", "answers"):
        rows = pq.read_table(place / name)
        # One row for each image: that of its first question.
        rows = rows.filter(pc.equal(rows["question_index"], 0)) if name == "answers" else rows
        assert sorted(rows["row_id"].to_pylist()) == sorted(products["row_id"].to_pylist())
        assert rows["status"].to_pylist().count("ok") == COUNT
        failed = [row for row in rows.to_pylist() if row["status"] == "error"]
        assert len(failed) == products.num_rows - COUNT >= 5
        assert {"image_undecodable", "image_missing", "image_too_large"} <= {row["error_code"] for row in failed}
        assert all(row["image_id"].startswith("damaged-") and row["error_message"] for row in failed)
    answers = pq.read_table(place / "answers").to_pylist()
    first = [each["question"] for each in answers if each["status"] == "ok" and each["question_index"] == 0]
    assert first == ["is there a dog?"] * COUNT


def test_the_gallery_shows_all_of_them(finished: tuple[Path, str]) -> None:
    place, _ = finished
    page = (place / "gallery.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") >= COUNT
    assert page.count("data-status=") == pq.read_table(place / "products").num_rows
    assert "damaged-half-a-jpeg" in page


def test_a_report_tells_how_good_the_answers_are(finished: tuple[Path, str]) -> None:
    place, said = finished
    assert (place / "report.html").resolve().as_uri() in said
    page = (place / "report.html").read_text("utf-8")
    assert "exact_match by kind" in page
    assert "Most confident mistakes" in page
    assert "data:image/jpeg;base64," in page
    record = EvaluationRecord.read(str(place / "evaluation"))
    assert record is not None
    assert record.rows["truth"] == pq.read_table(place / "truth.parquet").num_rows == 5 * COUNT


def test_the_summary_says_where_and_how_good_and_what_next(finished: tuple[Path, str]) -> None:
    place, said = finished
    assert (place / "gallery.html").resolve().as_uri() in said
    assert re.search(r"% +is there a dog\? F1 +of 12", said)
    assert re.search(r"% +tag: category +of 12", said)
    assert "vqa-ray answer --input PHOTOS" in said
    (read,) = [line.strip() for line in said.splitlines() if " -c " in line]
    shown = subprocess.run(read, shell=True, cwd=place.parent, capture_output=True, text=True, timeout=60, check=False)
    assert f"[{pq.read_table(place / 'tags').num_rows} rows x 3 columns]" in shown.stdout, shown.stderr


def test_the_index_holds_every_row_and_was_searched(finished: tuple[Path, str]) -> None:
    place, said = finished
    index = open_index(str(place / "index"))
    assert (len(index), index.version.ok) == (pq.read_table(place / "products").num_rows, COUNT)
    assert pq.read_schema(place / "hits.parquet").names[:2] == ["rank", "row_id"]
    assert (place / "hits.html").resolve().as_uri() in said
    assert f"vqa-ray browse {Path('demo/index')} --tags {Path('demo/tags')} --verify-model fake:" in said


def test_a_second_demo_starts_afresh_and_leaves_other_files(finished: tuple[Path, str]) -> None:
    place, _ = finished
    (place / "tags" / "notes.txt").write_text("mine")
    (place / "mine.txt").write_text("mine")
    refused = run(place.parent, "--count", "3", "--quiet")
    assert refused.returncode == 2
    assert "tags/ holds files that no demo made (notes.txt); move them" in refused.stderr
    (place / "tags" / "notes.txt").unlink()
    done = run(place.parent, "--count", "3", "--quiet")
    assert done.returncode == 0, done.stderr
    # Steps that run while Ray's own messages are kept away from standard error are announced too.
    assert [line[:5] for line in done.stderr.splitlines() if line.startswith("[")] == [f"[{n}/8]" for n in range(1, 9)]
    # Three products, five questions each.
    assert pq.read_table(place / "answers")["status"].to_pylist().count("ok") == 15
    assert (place / "mine.txt").read_text() == "mine"


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Gives what a demo in `tmp_path` says that is refused, in this process."""
    monkeypatch.chdir(tmp_path)

    def run_here(*more: str) -> str:
        assert main(arguments(*more)) == 2
        return capfd.readouterr().err

    return run_here


def test_a_directory_of_others_is_refused_before_any_work(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("mine")
    assert refused().strip() == (
        "vqa-ray demo: --output demo: holds files that are not of a demo (thesis.txt); wanted a new or empty directory,"
        " or one of an earlier demo"
    )
    assert [each.name for each in (tmp_path / "demo").iterdir()] == ["thesis.txt"]


def test_an_unknown_model_is_refused_before_any_work(tmp_path: Path, refused: Callable[..., str]) -> None:
    line = refused("--model", "bundled:no-such-model")
    assert line.count("\n") == 1
    assert "no-such-model" in line
    assert list(tmp_path.iterdir()) == []

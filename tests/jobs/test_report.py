"""`vqa-ray report`: a page of each kind of results, and one line for what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.evaluations import evaluated, write_evaluation
from tests.unit.review.reviews import answer_run
from vqa_ray.comparison.record import Comparison, Input, Pair
from vqa_ray.jobs.cli import main


def report(what: Path | str, output: Path) -> int:
    return main(["report", str(what), "--output", str(output)])


def test_pages_of_a_run_an_evaluation_and_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_evaluation(tmp_path / "evaluation", [evaluated("1", "a", "b")])
    inputs = [Input(name, "nowhere", "fake:", 1) for name in ("base", "tuned")]
    pair = Pair(1, 1, 0, 0, [], [], 0)
    (tmp_path / "comparison").mkdir()
    Comparison("runs", "0", "tag", inputs, [pair], "image_id", [], 0, 0).write(str(tmp_path / "comparison"))
    for what, title in (
        (answer_run(tmp_path), "answer: run"),
        (tmp_path / "evaluation", "Exact match: nowhere"),
        (tmp_path / "comparison", "tag: base → tuned"),
    ):
        assert report(what, tmp_path / "pages" / "page.html") == 0
        assert f"<title>{title}</title>" in (tmp_path / "pages" / "page.html").read_text("utf-8")
        assert " MB in " in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["page.html"]


def test_what_is_no_result_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = answer_run(tmp_path)
    write_evaluation(tmp_path / "evaluation", [evaluated("1", "a", "b"), evaluated("2", "a", "b")])
    (part, _) = sorted((tmp_path / "evaluation" / "rows").iterdir())
    part.write_bytes(part.read_bytes()[:-9])
    (tmp_path / "empty").mkdir()
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "evaluation.json").write_text("{}")
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "comparison.json").write_text("{}")
    for what, output, message in (
        (tmp_path / "nothing", "page.html", "nothing: no such directory or prefix; expected a run, or a directory of"),
        (tmp_path / "empty", "page.html", "neither a run nor a directory of evaluate or compare"),
        (Path(__file__), "page.html", ""),
        (run, "page.txt", "--output {0}/page.txt: wanted a file named *.html"),
        (run, "run/page.html", "lies in"),
        (tmp_path / "evaluation", "page.html", f"{part.name}: is damaged"),
        (tmp_path / "record", "page.html", "evaluation.json: format None of another version"),
        (tmp_path / "compared", "page.html", "comparison.json: not a comparison of format 1"),
    ):
        assert report(what, tmp_path / output) == 2, what
        error = capsys.readouterr().err
        assert message.format(tmp_path) in error
        assert len(error.splitlines()) == 1
        assert not (tmp_path / output).exists()

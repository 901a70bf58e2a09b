"""`vqa-ray review`: verdicts survive a kill, and calibrate and finetune take them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import evaluations
from tests.helpers.coloured import NAMES, parquet_input
from tests.jobs.commands import DEADLINE_S, run_here, started
from tests.unit.browse.site import Site
from tests.unit.review.reviews import answer_run, review_of, tag_run
from tests.unit.review.test_server import send
from tests.unit.training.stages.test_extract_labels import rows_of
from vqa_ray.browse.dataset import open_collection
from vqa_ray.jobs.cli import main
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.review.items import Items
from vqa_ray.review.label_file import LabelFile
from vqa_ray.review.session import Review
from vqa_ray.runs.directory import RunDirectory


@contextmanager
def reviewing(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Site, str]]:
    """The command as a process of its own, a client of its page, and the line that names it."""
    with started("review", *arguments, "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found is not None, (line, process.communicate())
        yield process, Site(int(found[1])), line


def verdicts(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]]


def test_no_verdict_is_lost_by_a_kill(tmp_path: Path) -> None:
    run, file = answer_run(tmp_path, 12), tmp_path / "labels.jsonl"
    arguments = (run, "--output", str(file), "--reviewer", "ann", "--sample", "10")
    with reviewing(*arguments) as (process, site, line):
        assert "0 of 10 reviewed (random, 10 of 12, seed 0)" in line
        for number in range(5):
            assert send(site, f"/item/{number}", verdict="right").status == 303
            assert len(verdicts(file)) == number + 1
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
    assert [each["verdict"] for each in verdicts(file)] == ["right"] * 5
    with reviewing(*arguments) as (process, site, line):
        assert "5 of 10 reviewed" in line
        assert site.get("/").headers["Location"] == "/item/5"
        assert main(["review", *arguments]) == 2, "another one writes"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, "Traceback" in told) == (130, False)
    assert len(verdicts(file)) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--import", "x.json"), "--import and --from go together"),
        (("--import", "missing.json", "--from", "fiftyone"), "--import missing.json: cannot be read"),
        (("--strategy", "best"), "--strategy"),
        (("--strategy", "random", "--by", "tag"), "--by tag: goes with --strategy stratified or diverse, not random"),
        (("--by", "size"), "--by size: wanted tag, question or a column of the run"),
        (("--sample", "0"), "--sample"),
    ],
)
def test_wrong_requests_are_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    run = answer_run(tmp_path)
    assert main(["review", run, "--output", str(tmp_path / "labels.jsonl"), "--port", "0", *options]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_an_evaluation_names_the_run_to_review(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = answer_run(tmp_path)
    evaluations.write_evaluation(tmp_path / "judged", [evaluations.evaluated("1", "a", "b")], predictions=run)
    assert main(["review", str(tmp_path / "judged"), "--output", str(tmp_path / "labels.jsonl"), "--port", "0"]) == 2
    assert f"judged: is an evaluation; review takes the run that it judged: {run}" in capfd.readouterr().err


def test_an_unfinished_run_is_reviewed_with_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tag_run(tmp_path)
    main(["export", run, "--to", "fiftyone", "--output", str(tmp_path / "data")])
    labels = tmp_path / "data" / "labels.json"
    labels.write_text(labels.read_text("utf-8").replace('"red"', '"green"'))
    Path(RunDirectory(run).manifest).unlink()
    argv = ["review", run, "--import", str(labels), "--from", "fiftyone", "--output", str(tmp_path / "labels.jsonl")]
    assert main(argv) == 0
    assert "This run has not finished: more rows may follow." in capfd.readouterr().err


def test_an_output_within_the_run_or_of_something_else_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = answer_run(tmp_path)
    assert main(["review", run, "--output", f"{run}/labels.jsonl", "--port", "0"]) == 2
    assert "lies in" in capfd.readouterr().err
    (tmp_path / "notes.txt").write_text("my notes\n")
    assert main(["review", run, "--output", str(tmp_path / "notes.txt"), "--port", "0"]) == 2
    assert "line 1: no verdict of vqa-ray review" in capfd.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "my notes\n"


def test_a_training_takes_the_verdicts(tmp_path: Path) -> None:
    run, file = answer_run(tmp_path, 3), tmp_path / "labels.jsonl"
    review, _ = review_of(run, file)
    for number, verdict in enumerate(("right", "wrong", "other")):
        review.judge(number, verdict, "perhaps")
    found = rows_of(file)
    assert [row["question"] for row in found] == ["is there a dog?"] * 3
    assert [row["answers"] for row in found] == [[label.answer] for label in LabelFile.open(str(file))]
    assert {row["status"] for row in found} == {"ok"}


def evaluated(run: str, file: Path, *more: str) -> EvaluationRecord:
    output = file.with_suffix(".evaluation")
    argv = ["evaluate", "--predictions", run, "--truth", str(file), "--output", str(output), "--quiet", *more]
    assert main(argv) == 0
    record = EvaluationRecord.read(str(output))
    assert record is not None
    return record


def test_evaluate_takes_the_verdicts_on_answers(tmp_path: Path) -> None:
    run, file = answer_run(tmp_path, 6), tmp_path / "labels.jsonl"
    review, _ = review_of(run, file, 4)
    for number, verdict in enumerate(("right", "wrong", "other", "right")):
        review.judge(number, verdict, "perhaps")
    record = evaluated(run, file, "--protocol", "verdicts")
    assert (record.first.value, record.first.n) == (0.5, 4)
    assert (record.rows["truth"], record.rows["judged"], record.rows["no_truth"]) == (4, 4, 3)
    assert evaluated(run, tmp_path / "labels.jsonl", "--protocol", "verdicts").key == "question_id"


def test_evaluate_takes_the_verdicts_on_tags(tmp_path: Path) -> None:
    run, file = tag_run(tmp_path), tmp_path / "labels.jsonl"
    review, _ = review_of(run, file)
    verdicts = {
        ("0/0", "colour"): ("right", ""),
        ("1/0", "colour"): ("wrong", ""),
        ("2/0", "colour"): ("other", "green"),
        ("0/1", "motif"): ("other", "dog"),
        ("1/1", "motif"): ("right", ""),
        # Nobody knows what is right; what was given is not.
        ("2/1", "motif"): ("wrong", ""),
    }
    for number, item in enumerate(review.items):
        review.judge(number, *verdicts[item.id, item.attribute or ""])
    record = evaluated(run, file)
    by_name = {each.name: each.value for each in record.measures if each.group is None}
    assert record.protocol == "tags"
    assert record.rows["judged"] == 6
    assert by_name["exact_match"] == pytest.approx(2 / 6)


@pytest.mark.usefixtures("local_ray")
def test_calibrate_takes_the_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taxonomy = {"attributes": [{"name": "colour", "question": "what colour is it?", "choices": list(NAMES)}]}
    (tmp_path / "tags.yaml").write_text(json.dumps(taxonomy))
    run, file = tmp_path / "tags", tmp_path / "labels.jsonl"
    assert run_here("tag", parquet_input(tmp_path / "in", 12), run, "--tags", str(tmp_path / "tags.yaml")) == 0
    items = Items(open_collection(str(run)))
    review = Review(items.sample("random", 12, 0, None), LabelFile.open(str(file)), "random", "ann")
    for number in range(12):
        review.judge(number, "wrong" if number < 4 else "right")
    argv = ["calibrate", "--run", str(run), "--labels", str(file), "--output", str(tmp_path / "calibration.json")]
    capsys.readouterr()
    assert main(argv) == 0
    assert "of 12" in capsys.readouterr().out
    (fit,) = json.loads((tmp_path / "calibration.json").read_text())["tags"]
    assert (fit["tag"], fit["rows"], fit["positives"]) == ("colour", 12, 8)

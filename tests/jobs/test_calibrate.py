"""`vqa-ray calibrate`: from a run and labels to a file that `retrieve` and `tag` take."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, parquet_input, table
from tests.helpers.evaluations import evaluated, write_evaluation
from tests.helpers.written_runs import write_run
from tests.jobs.commands import rows, run_here
from vqa_ray import schema
from vqa_ray.jobs.cli import main

pytestmark = pytest.mark.usefixtures("local_ray")

RED = '"what colour is it?" = "red"'
TAXONOMY = {
    "attributes": [
        {"name": "colour", "question": "what colour is it?", "choices": list(NAMES), "threshold": 0},
    ]
}


def label_file(place: Path, count: int) -> Path:
    """The colour of each picture, by the names of a question and of an attribute."""
    known = table(count).select(["image_id", "colour"])
    known = known.append_column("what colour is it?", known["colour"])
    pq.write_table(known, place / "labels.parquet")
    return place / "labels.parquet"


def calibrated(run: Path, labels: Path, output: Path, *more: str) -> int:
    return main(["calibrate", "--run", str(run), "--labels", str(labels), "--output", str(output), *more])


def test_a_run_and_labels_make_a_file_that_the_next_run_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, labels = parquet_input(tmp_path / "in", 40), label_file(tmp_path, 40)
    assert run_here("retrieve", source, tmp_path / "sample", "--where", RED, "--ask-all") == 0
    file = tmp_path / "calibration.json"
    assert calibrated(tmp_path / "sample", labels, file, "--target", "precision=0.95") == 0
    told = capsys.readouterr().out
    assert '"what colour is it?" = "red"' in told
    assert "1.000 (0.722-1.000)" in told
    assert "10 of 40" in told
    where = ("--where", f"{RED} >= calibrated", "--calibration", str(file))
    assert run_here("retrieve", source, tmp_path / "out", *where) == 0
    found = rows(tmp_path / "out").to_pylist()
    assert [row["match"] for row in found] == [number % len(NAMES) == 0 for number in range(40)]
    file.write_text(file.read_text() + " ")
    assert run_here("retrieve", source, tmp_path / "out", *where) == 2, "another calibration is another command"


def test_tags_are_calibrated_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, labels = parquet_input(tmp_path / "in", 40), label_file(tmp_path, 40)
    (tmp_path / "tags.yaml").write_text(json.dumps(TAXONOMY))
    tags = ("--tags", str(tmp_path / "tags.yaml"))
    assert run_here("tag", source, tmp_path / "sample", *tags) == 0
    # Half of the labels are wrong, so that there is something to choose between.
    known = pq.read_table(labels).to_pylist()
    wrong = [row | {"colour": "grey"} if number % 2 else row for number, row in enumerate(known)]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wrong))
    file = tmp_path / "calibration.json"
    assert calibrated(tmp_path / "sample", tmp_path / "labels.jsonl", file, "--target", "recall=0.9") == 0
    assert "20 of 40" in capsys.readouterr().out
    # A threshold in the middle of the scores, so that it must show.
    scores = rows(tmp_path / "sample")["colour_score"].to_pylist()
    least = sorted(scores)[len(scores) // 2]
    content = json.loads(file.read_text())
    content["tags"][0]["threshold"] = least
    file.write_text(json.dumps(content))
    assert run_here("tag", source, tmp_path / "out", *tags, "--calibration", str(file)) == 0
    given = [colour is not None for colour in rows(tmp_path / "out")["colour"].to_pylist()]
    assert given == [score >= least for score in scores]
    assert set(given) == {True, False}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--target", "accuracy"), "--target accuracy: wanted f1, precision=0..1 or recall=0..1"),
        (("--target", "recall=2"), "--target recall=2: wanted f1, precision=0..1 or recall=0..1"),
        ((), ": expected a finished run of retrieve or tag"),
    ],
)
def test_wrong_requests_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], told: str
) -> None:
    labels = label_file(tmp_path, 4)
    assert calibrated(tmp_path, labels, tmp_path / "c.json", *options) == 2
    assert told in capsys.readouterr().err


def test_an_evaluation_holds_the_run_and_the_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, labels = parquet_input(tmp_path / "in", 40), label_file(tmp_path, 40)
    (tmp_path / "tags.yaml").write_text(json.dumps(TAXONOMY))
    runs = {name: str(tmp_path / name) for name in ("tag", "retrieve", "both")}
    assert run_here("tag", source, runs["tag"], "--tags", str(tmp_path / "tags.yaml")) == 0
    assert run_here("retrieve", source, runs["retrieve"], "--where", RED) == 0
    assert run_here("retrieve", source, runs["both"], "--where", f"{RED} and not {RED}") == 0
    known = pq.read_table(labels).to_pylist()
    # Half of the labels are wrong, so that there is something to choose between.
    wrong = [row["colour"] if n % 2 else "grey" for n, row in enumerate(known)]
    tags = [
        evaluated(row["image_id"], row["colour"], truth, image_id=row["image_id"], attribute="colour")
        for row, truth in zip(known, wrong, strict=True)
    ]
    write_evaluation(tmp_path / "of_tags", tags, job="tag", predictions=runs["tag"])
    given = tmp_path / "wrong.jsonl"
    pairs = zip(known, wrong, strict=True)
    lines = (json.dumps({"image_id": row["image_id"], "colour": truth}) for row, truth in pairs)
    given.write_text("\n".join(lines))
    assert calibrated(Path(runs["tag"]), given, tmp_path / "from-labels.json") == 0
    options = ["--output", str(tmp_path / "c.json"), "--evaluation"]
    assert main(["calibrate", *options, str(tmp_path / "of_tags")]) == 0
    assert (tmp_path / "c.json").read_text() == (tmp_path / "from-labels.json").read_text()
    matches = [
        evaluated(row["image_id"], "true", "match" if row["colour"] == "red" else "no match", image_id=row["image_id"])
        for row in known
    ]
    for run in ("retrieve", "both"):
        write_evaluation(tmp_path / f"of_{run}", matches, job="retrieve", predictions=runs[run])
    assert main(["calibrate", *options, str(tmp_path / "of_retrieve"), "--method", "temperature"]) == 0
    [question] = json.loads((tmp_path / "c.json").read_text())["questions"]
    assert (question["answer"], question["positives"], question["rows"]) == ("red", 10, 40)
    assert question["temperature"] > 0
    where = ("--where", f"{RED} >= 0.5", "--calibration", str(tmp_path / "c.json"))
    assert run_here("retrieve", source, tmp_path / "out", *where) == 0
    assert [row["match"] for row in rows(tmp_path / "out").to_pylist()] == [
        number % len(NAMES) == 0 for number in range(40)
    ]
    write_evaluation(tmp_path / "of_answers", tags, job="answer", predictions="nowhere")
    capsys.readouterr()
    for evaluation, told in (
        ("of_both", "the truth is of the whole expression"),
        ("of_answers", "is of a run of answer; thresholds are for tag and retrieve"),
        ("in", "expected a finished evaluation"),
    ):
        assert main(["calibrate", *options, str(tmp_path / evaluation)]) == 2
        assert told in capsys.readouterr().err


def test_a_calibrated_run_calibrates_as_any_other(tmp_path: Path) -> None:
    """A run keeps the scores of the model, so that probabilities are never fitted to probabilities."""
    source, labels = parquet_input(tmp_path / "in", 40), label_file(tmp_path, 40)
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    assert run_here("retrieve", source, tmp_path / "raw", "--where", RED, "--ask-all") == 0
    assert calibrated(tmp_path / "raw", labels, files[0]) == 0
    more = ("--where", f"{RED} > 0.2", "--ask-all", "--calibration", str(files[0]))
    assert run_here("retrieve", source, tmp_path / "once", *more) == 0
    assert calibrated(tmp_path / "once", labels, files[1]) == 0
    assert files[0].read_text() == files[1].read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--run", "r"], "--labels: is missing; expected --run with --labels, or --evaluation"),
        ([], "--run: is missing"),
        (["--evaluation", "e", "--labels", "l"], "--evaluation: names the run and holds the labels; expected without"),
    ],
)
def test_a_run_and_labels_or_an_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["calibrate", "--output", str(tmp_path / "c.json"), *options]) == 2
    assert told in capsys.readouterr().err


def test_labels_in_another_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.tsv"
    labels.write_bytes("image_id\tcolour\n1\trosé\n".encode("cp1252"))
    run = tmp_path / "none"
    options = ["--run", str(run), "--labels", str(labels), "--output", str(tmp_path / "c.json")]
    assert main(["calibrate", *options]) == 2
    assert f"--run {run}: no such directory or prefix; expected a finished run" in capsys.readouterr().err
    run.mkdir()
    for encoding, message in (
        ([], "labels.tsv line 2: not UTF-8; another encoding is given with --encoding"),
        (["--encoding", "cp1252"], f"--run {run}: expected a finished run of retrieve or tag"),
        (["--encoding", "klingon"], "--encoding 'klingon' is unknown"),
    ):
        assert main(["calibrate", *options, *encoding]) == 2
        assert message in capsys.readouterr().err


def scored_run(place: Path) -> Path:
    """A run of two questions about four images."""
    scores = [("is it a dog?", (0.9, 0.8, 0.2, 0.1)), ("is it a cat?", (0.1, 0.2, 0.3, 0.4))]
    answered = [
        {"image_id": name, "scores": [{"question": text, "answer": None, "score": of[n]} for text, of in scores]}
        for n, name in enumerate("abcd")
    ]
    return Path(write_run(place / "run", answered, schema.RETRIEVE, job="retrieve"))


def test_one_that_cannot_be_calibrated_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, labels, output = scored_run(tmp_path), tmp_path / "labels.csv", tmp_path / "c.json"
    labels.write_text("image_id,is it a dog?,is it a cat?\na,yes,no\nb,yes,no\nc,no,no\nd,no,no\n")
    assert calibrated(run, labels, output) == 0
    told = capsys.readouterr()
    reason = '"is it a cat?": is right in 0 of 4 rows; expected in some and not in others'
    assert f"not calibrated: {reason}" in told.err
    assert "1 calibrated for f1, 1 left out" in told.out
    assert [each["text"] for each in json.loads(output.read_text())["questions"]] == ["is it a dog?"]
    labels.write_text("image_id,is it a cat?\na,no\nb,no\n")
    assert calibrated(run, labels, tmp_path / "none.json") == 2
    assert '"is it a cat?": is right in 0 of 2 rows' in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("image_id,is it a dog?\n1,yes\n2,no\n", "no label is for this run: no image_id is one of the run"),
        ("image_id,is it a dog?\na,\nb,\n", "no label is for this run: the cells of its images are empty"),
        ("image_id,dog\na,yes\n", "beside image_id the columns are 'dog'; wanted are the texts of its questions"),
    ],
)
def test_why_no_label_is_for_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: str, reason: str
) -> None:
    (tmp_path / "labels.csv").write_text(labels)
    assert calibrated(scored_run(tmp_path), tmp_path / "labels.csv", tmp_path / "c.json") == 2
    assert reason in capsys.readouterr().err

"""Verdicts of Label Studio and FiftyOne: what `export` wrote comes back with its scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.browse.site import table_of, write_run
from tests.unit.review.reviews import answer_run, answered, tag_run
from vqa_ray import schema
from vqa_ray.jobs.cli import main

Tasks = list[dict[str, Any]]


def exported(run: str, to: str, output: Path) -> Any:
    assert main(["export", run, "--to", to, "--output", str(output)]) == 0
    return json.loads((output / "labels.json" if to == "fiftyone" else output).read_text("utf-8"))


def imported(run: str, origin: str, content: object, place: Path) -> list[dict[str, Any]]:
    (place / "reviewed.json").write_text(json.dumps(content))
    labels = place / "labels.jsonl"
    argv = ["review", run, "--import", str(place / "reviewed.json"), "--from", origin, "--output", str(labels)]
    assert main([*argv, "--reviewer", "ann"]) == 0
    return [json.loads(line) for line in labels.read_text("utf-8").split("\n")[:-1]]


def submit(task: dict[str, Any], result: Tasks | None = None, **more: Any) -> None:
    """Accept the prediction of a task as its annotation, or another result."""
    results = task["predictions"][0]["result"] if result is None else result
    annotation = {"result": results, "was_cancelled": False, "created_at": "2026-11-28T12:00:00Z", **more}
    task.setdefault("annotations", []).append(annotation)


def text(answer: str) -> dict[str, Any]:
    return {"from_name": "answer", "to_name": "image", "type": "textarea", "value": {"text": [answer]}}


def choice(name: str, *values: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": list(values)}}


def told(labels: Tasks) -> list[tuple[Any, ...]]:
    return [
        (each["attribute"] or each["question"], each["prediction"], each["verdict"], each["answer"]) for each in labels
    ]


def test_answers_of_label_studio(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = answer_run(tmp_path)
    tasks = exported(run, "label-studio", tmp_path / "tasks.json")
    submit(tasks[0], completed_by={"id": 3, "email": "bob@example.org"})
    submit(tasks[1], [text("perhaps")], completed_by=7, updated_at="2026-11-28T13:00:00Z")
    # One text without a list, as Label Studio writes it too.
    submit(tasks[2], [choice("verdict", "Wrong"), text("yes") | {"value": {"text": "yes"}}])
    submit(tasks[3], [])
    submit(tasks[4], was_cancelled=True)
    submit(tasks[4], [text("late")], created_at="2026-11-28T14:00:00Z")
    submit(tasks[4], [text("early")], created_at="2026-11-28T13:00:00Z")
    labels = imported(run, "label-studio", tasks, tmp_path)
    question = "is there a dog?"
    assert told(labels) == [
        (question, "yes", "right", "yes"),
        (question, "no", "other", "perhaps"),
        (question, "yes", "wrong", "no"),
        (question, "no", "wrong", "yes"),
        (question, "yes", "other", "late"),
    ]
    assert [each["reviewer"] for each in labels] == ["bob@example.org", "7", "ann", "ann", "ann"]
    assert labels[1]["time"] == "2026-11-28T13:00:00Z"
    assert [each["question_id"] for each in labels] == ["q0", "q1", "q2", "q3", "q4"]
    # The scores went there and came back.
    for task, label in zip(tasks, labels, strict=False):
        (prediction,) = task["predictions"]
        assert prediction["score"] == prediction["result"][0]["score"] == label["score"]
    assert "5 verdicts → " in capfd.readouterr().out


def test_tags_of_label_studio(tmp_path: Path) -> None:
    run = tag_run(tmp_path)
    tasks = exported(run, "label-studio", tmp_path / "tasks.json")
    submit(tasks[0], [choice("colour", "red"), choice("motif", "cat", "dog")])
    submit(tasks[1], [choice("colour", "green"), choice("motif", "dog")])
    submit(tasks[2], [choice("motif", "dog")])
    assert told(imported(run, "label-studio", tasks, tmp_path)) == [
        ("colour", "red", "right", "red"),
        ("motif", "dog; cat", "right", "dog; cat"),
        ("colour", "blue", "other", "green"),
        ("motif", None, "other", "dog"),
        ("colour", None, "right", None),
        ("motif", "dog", "right", "dog"),
    ]


def test_several_questions_of_a_row_are_told_by_their_order(tmp_path: Path) -> None:
    results = [{**answered("red", 0.3), "finish_reason": None, "question": name} for name in ("a?", "b?")]
    run = write_run(tmp_path / "run", "answer", table_of(schema.ANSWERS, [{"results": results}]))
    tasks = exported(run, "label-studio", tmp_path / "tasks.json")
    submit(tasks[0], [text("red"), text("blue")])
    labels = imported(run, "label-studio", tasks, tmp_path)
    assert told(labels) == [("a?", "red", "right", "red"), ("b?", "red", "other", "blue")]


def test_labels_of_fiftyone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tag_run(tmp_path)
    content = exported(run, "fiftyone", tmp_path / "data")
    labels = content["labels"]
    scores = [each["confidence"] for each in labels["0"]]
    assert scores == [0.5, 0.25, 0.25]
    labels["0"][0]["label"] = "green"
    labels["0"][1]["attributes"] |= {"verdict": "right", "reviewer": "bob"}
    labels["1"][0]["attributes"]["verdict"] = "wrong"
    found = imported(run, "fiftyone", content, tmp_path)
    assert told(found) == [
        ("colour", "red", "other", "green"),
        ("motif", "dog; cat", "right", "dog; cat"),
        ("colour", "blue", "wrong", None),
    ]
    assert [each["score"] for each in found] == [0.5, 0.25, 0.5]
    assert [each["reviewer"] for each in found] == ["ann", "bob", "ann"]
    assert "1 left out: unchanged, so perhaps not looked at" in capfd.readouterr().out


def test_a_label_deleted_in_fiftyone_is_wrong(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tag_run(tmp_path)
    content = exported(run, "fiftyone", tmp_path / "data")
    # The colour of the first image is deleted, one of its two motifs, and all labels of the second image.
    content["labels"]["0"] = content["labels"]["0"][1:2]
    content["labels"]["1"] = []
    found = imported(run, "fiftyone", content, tmp_path)
    assert told(found) == [("motif", "dog; cat", "other", "dog"), ("colour", "red", "wrong", None)]
    out = capfd.readouterr().out
    assert "2 verdicts, 1 of them wrong: their labels were deleted → " in out
    assert "1 left out: samples without a label, so that their row is not known" in out
    assert "1 left out: unchanged, so perhaps not looked at" in out


@pytest.mark.parametrize(
    ("origin", "content", "message"),
    [
        ("label-studio", {"labels": {}}, "expected a list of tasks with `data`"),
        ("label-studio", [{"data": {}, "annotations": [{"result": []}]}], "a task has no `source_key`"),
        ("label-studio", [{"data": {"source_key": 0}}], "holds no verdict on"),
        ("label-studio", [{"data": {"source_key": "a"}, "annotations": [{}]}], "not an export of label-studio"),
        ("label-studio", [{"data": {"source_key": 99}, "annotations": [{}]}], "1 left out: not of this run"),
        ("fiftyone", [], "expected `labels` by sample"),
        ("fiftyone", {"labels": {"0": {"label": "x"}}}, "include_attributes=True"),
        ("fiftyone", {"labels": {"0": ["x"]}}, "not an export of fiftyone"),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], origin: str, content: object, message: str
) -> None:
    run = answer_run(tmp_path)
    (tmp_path / "x.json").write_text(json.dumps(content))
    argv = ["review", run, "--import", str(tmp_path / "x.json"), "--from", origin]
    assert main([*argv, "--output", str(tmp_path / "labels.jsonl")]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "labels.jsonl").exists()

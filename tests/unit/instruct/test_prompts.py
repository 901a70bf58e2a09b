"""The tasks of a teacher and their phrasings."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.instruct.prompts import choose_tasks, fingerprint_of_tasks, load_tasks, shipped_prompts


def test_shipped_prompts_are_read_and_can_be_copied(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(shipped_prompts())
    tasks = load_tasks(None)
    assert load_tasks(str(tmp_path / "mine.yaml")) == tasks
    assert list(tasks) == ["detailed_description", "reasoning", "conversation", "creative", "attributes"]
    first = tasks["detailed_description"].phrasings[0]
    assert first.id == "detailed_description/1"
    assert first.prompt.startswith(first.question)
    assert "attributes" not in [task.name for task in choose_tasks(tasks, None, has_schema=False)]


def test_a_seed_draws_phrasings_by_row() -> None:
    task = load_tasks(None)["detailed_description"]
    drawn = [task.phrasing(row, 0).id for row in range(600)]
    counts = {name: drawn.count(name) for name in set(drawn)}
    assert len(counts) == len(task.phrasings)
    assert min(counts.values()) > 60
    assert drawn == [task.phrasing(row, 0).id for row in range(600)]
    assert drawn != [task.phrasing(row, 1).id for row in range(600)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tasks: {}", "holds no task"),
        ("- a", "should be a valid dictionary"),
        ("tasks: {a: {question: [b]}}", "tasks.a.question: Extra inputs are not permitted"),
        ("tasks: {a: {questions: []}}", "task a: writes an answer: wanted questions"),
        ("tasks: {a: {questions: [' ']}}", "task a: one of its texts is blank"),
        ("tasks: {A: {questions: [b]}}", "task A: a name is of small letters"),
        ("tasks: {a: {writes: pairs, questions: [b], prompts: [c]}}", "task a: writes pairs, its own questions"),
        (
            "tasks: {a: {writes: object, questions: [b], prompts: [c]}}",
            "task a: writes an object, asked by",
        ),
        ("tasks: {a: {questions: [b]}, a: {questions: [c]}}", "not YAML"),
        ("tasks: {a: [", "not YAML"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RequestError, match=r"--prompts .*a\.yaml: ") as caught:
        load_tasks(str(tmp_path / "a.yaml"))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tasks_are_chosen_by_name() -> None:
    tasks = load_tasks(None)
    assert [task.name for task in choose_tasks(tasks, "creative, reasoning", has_schema=False)] == [
        "creative",
        "reasoning",
    ]
    for names, has_schema, reason in (
        ("poetry", False, "--tasks poetry: unknown task 'poetry'; known are detailed_description, reasoning"),
        ("creative,creative", False, "creative is given twice"),
        ("attributes", False, "attributes writes an object; name its fields with --schema FILE"),
        ("creative", True, "--schema: none of the tasks writes an object"),
    ):
        with pytest.raises(RequestError, match=reason):
            choose_tasks(tasks, names, has_schema=has_schema)


def test_the_fingerprint_follows_every_word(tmp_path: Path) -> None:
    found = set()
    for words in ("What?", "What? ", "Who?"):
        (tmp_path / "a.yaml").write_text(f"tasks: {{a: {{questions: ['{words}']}}}}")
        found.add(fingerprint_of_tasks(list(load_tasks(str(tmp_path / "a.yaml")).values())))
    assert len(found) == 2

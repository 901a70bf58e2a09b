"""Sets of questions: those that ship, and files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.jobs.answer.question_set import with_question_set
from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.row_text.question_set import SHIPPED_QUESTIONS, load_questions, shipped_questions
from vqa_ray.structured.grammar import check_grammar
from vqa_ray.structured.load import SHIPPED_SCHEMAS, load_schema


def test_shipped_sets_can_be_copied_and_changed(tmp_path: Path) -> None:
    for name in SHIPPED_QUESTIONS:
        copy = tmp_path / f"{name}.yaml"
        copy.write_text(shipped_questions(name), "utf-8")
        assert load_questions(str(copy)) == load_questions(name)
        assert len(load_questions(name)) >= 6


def test_shipped_schemas_can_be_copied_and_changed(tmp_path: Path) -> None:
    for name in SHIPPED_SCHEMAS:
        copy = tmp_path / f"{name}.json"
        copy.write_text(json.dumps(load_schema(name).document), "utf-8")
        assert load_schema(str(copy)).fingerprint == load_schema(name).fingerprint
        check_grammar(load_schema(name), name)


def test_a_set_stands_before_the_questions_given() -> None:
    spec = AnswerSpec(input="in", output="out", model="fake:", questions="chart", question=["is it blue?"])
    asked = with_question_set(spec)
    assert asked.question == [*load_questions("chart"), "is it blue?"]
    assert "questions" not in asked.command()
    assert with_question_set(asked) is asked


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("questions: []", "wanted `questions:` and a list of texts"),
        ("- what?", "wanted `questions:` and a list of texts"),
        ("questions: [what]\nmore: 1", "wanted `questions:` and a list of texts"),
        ("questions: [what, ' ']", "question 2 of 2 is blank or no text"),
        ("questions: [yes]", "question 1 of 1 is blank or no text"),
        ("questions: [what, 'what ']", "'what' occurs twice"),
        ("questions: [", "not YAML"),
        ("questions: [a]\nquestions: [b]", "not YAML: 'questions' occurs twice"),
    ],
)
def test_sets_that_are_none(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(RequestError) as caught:
        load_questions(str(path))
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"--questions {path}: ")


def test_sets_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cannot be read \(shipped by name: document, chart\)"):
        load_questions(str(tmp_path / "none.yaml"))
    with pytest.raises(RequestError, match="is not shipped; there are document, chart"):
        shipped_questions("none")

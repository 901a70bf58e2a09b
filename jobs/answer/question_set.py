"""`vqa-ray answer --questions`, and `--print-questions`."""

from __future__ import annotations

import typer

from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.jobs.spec.question_set_group import PrintQuestionsSpec
from vqa_ray.row_text.question_set import load_questions, shipped_questions


def with_question_set(spec: AnswerSpec) -> AnswerSpec:
    """Return the spec with the questions of its set in `question`, as if they were given one by one.

    Raises:
        RequestError: the set cannot be read.
    """
    if spec.questions is None:
        return spec
    own = [question for question in spec.question if question.strip()]
    return spec.model_copy(update={"question": [*load_questions(spec.questions), *own], "questions": None})


def run(spec: PrintQuestionsSpec) -> None:
    """Print a shipped set."""
    typer.echo(shipped_questions(spec.print_questions), nl=False)

"""Sets of questions that come with the package, or from a file."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import Spec, option
from vqa_ray.jobs.spec.groups import LoggingGroup


class QuestionSetGroup(Spec):
    """A set of questions."""

    group: ClassVar[str] = "Questions and answers"

    questions: str | None = option(
        "Ask every image this set of questions, before those of --question: document, chart, or a YAML file.",
        None,
        unit="NAME|FILE",
        omit_default_from_fingerprint=True,
    )


class PrintQuestionsSpec(LoggingGroup):
    """The option of `vqa-ray answer` that prints a set of questions."""

    group: ClassVar[str] = "Questions and answers"

    print_questions: str = option(
        "Print a set of questions that comes with the package, to copy and change: document or chart.", unit="NAME"
    )

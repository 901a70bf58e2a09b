"""The specs of the jobs that write a row per image: `answer`, `tag`, `caption` and `retrieve`."""

from __future__ import annotations

from typing import ClassVar, Literal

from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.endpoint_group import EndpointGroup
from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import (
    CalibrationGroup,
    EngineGroup,
    ExpressionGroup,
    GenerationGroup,
    PromptGroup,
    QuestionGroup,
)


class AnswerSpec(QuestionGroup, PromptGroup, GenerationGroup, EngineGroup, EndpointGroup, RunSpec):
    """Ask questions of images: one output row per image and question, with an answer and a score, or a typed error."""

    group: ClassVar[str] = "Questions and answers"

    question: list[str] = option(
        "Question to ask of every image. Default: the questions that the rows hold. Repeatable.", []
    )
    layout: Literal["rows", "nested"] = option(
        "Output of several questions about an image: one row each, or one row with a list.",
        "rows",
        group="Output",
        omit_default_from_fingerprint=True,
    )
    top_k: int = option("Answers to keep per question.", 5, unit="N", ge=1, le=100)
    ignore_context: bool = option(
        "Ask each question by itself, even if rows hold a context.", False, omit_default_from_fingerprint=True
    )


class TagSpec(PromptGroup, CalibrationGroup, EngineGroup, EndpointGroup, RunSpec):
    """Tag images with the choices of a taxonomy: one output row per image."""

    group: ClassVar[str] = "Tags"

    tags: str | None = option("Taxonomy file (tags.yaml). Default: the built-in product taxonomy.", None, unit="FILE")


class CaptionSpec(GenerationGroup, EngineGroup, EndpointGroup, RunSpec):
    """Describe images in a sentence: one output row per image."""

    group: ClassVar[str] = "Captions"

    prompt: str | None = option(
        'Words that every caption begins with, e.g. "a photo of". Default: none.', None, unit="TEXT", min_length=1
    )


class RetrieveSpec(ExpressionGroup, EngineGroup, EndpointGroup, RunSpec):
    """Find the images that fit an expression of questions: one output row per image, and the matches, best first."""

    group: ClassVar[str] = "What to find"

    where: str = option(
        'Expression to match: \'"is there a dog?" and not "is it a toy?"\'.', unit="EXPRESSION", min_length=1
    )
    top_k: int | None = option("Number of matches to list. Default: all.", None, unit="N", ge=1, affects_result=False)
    ask_all: bool = option("Ask every question of every image, for calibration.", False)

"""The specs of the jobs that write a row per image: `answer`, `tag`, `caption` and `retrieve`."""

from __future__ import annotations

from typing import ClassVar, Literal

from vqa_ray.jobs.spec.cache_group import CacheGroup
from vqa_ray.jobs.spec.endpoint_group import BatchGroup
from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.grouping_group import GroupingGroup
from vqa_ray.jobs.spec.groups import (
    CalibrationGroup,
    EngineGroup,
    ExpressionGroup,
    GenerationGroup,
    PromptGroup,
    QuestionGroup,
)
from vqa_ray.jobs.spec.images_from_group import ImagesFromGroup
from vqa_ray.jobs.spec.question_set_group import QuestionSetGroup
from vqa_ray.jobs.spec.second_group import CascadeGroup, SecondOpinionGroup
from vqa_ray.jobs.spec.text_group import TextGroup
from vqa_ray.jobs.spec.update_group import UpdatedSpec, UpdatedTagSpec


class AnswerSpec(
    SecondOpinionGroup,
    QuestionSetGroup,
    QuestionGroup,
    PromptGroup,
    GenerationGroup,
    EngineGroup,
    BatchGroup,
    TextGroup,
    CacheGroup,
    ImagesFromGroup,
    GroupingGroup,
    UpdatedSpec,
):
    """Ask questions of images: one output row per image and question, with an answer and a score, or a typed error."""

    group: ClassVar[str] = "Questions and answers"

    question: list[str] = option(
        "Question to ask of every image, {title}: of a column. Default: those that the rows hold. Repeatable.", []
    )
    layout: Literal["rows", "nested"] = option(
        "Output of several questions about an image: one row each, or one row with a list.",
        "rows",
        group="Output",
        omit_default_from_fingerprint=True,
    )
    top_k: int = option("Answers to keep per question.", 5, unit="N", ge=1, le=100)
    object_schema: str | None = option(
        "Fill an object of typed fields: document, chart, a JSON Schema, a tags.yaml, or MODULE:CLASS.",
        None,
        unit="FILE|CLASS",
        name="schema",
        omit_default_from_fingerprint=True,
    )
    ignore_context: bool = option(
        "Ask each question by itself, even if rows hold a context.", False, omit_default_from_fingerprint=True
    )


class TagSpec(
    SecondOpinionGroup,
    PromptGroup,
    CalibrationGroup,
    EngineGroup,
    BatchGroup,
    TextGroup,
    CacheGroup,
    ImagesFromGroup,
    GroupingGroup,
    UpdatedTagSpec,
):
    """Tag images with the choices of a taxonomy: one output row per image."""

    group: ClassVar[str] = "Tags"

    tags: str | None = option(
        "Taxonomy file (tags.yaml), or listing-check. Default: the built-in product taxonomy.", None, unit="FILE"
    )


class CaptionSpec(
    CascadeGroup, GenerationGroup, EngineGroup, BatchGroup, TextGroup, CacheGroup, ImagesFromGroup, UpdatedSpec
):
    """Describe images in a sentence: one output row per image."""

    group: ClassVar[str] = "Captions"

    prompt: str | None = option(
        'Words that every caption begins with, e.g. "a photo of" or "{title}:". Default: none.',
        None,
        unit="TEXT",
        min_length=1,
    )


class RetrieveSpec(ExpressionGroup, EngineGroup, BatchGroup, TextGroup, CacheGroup, ImagesFromGroup, UpdatedSpec):
    """Find the images that fit an expression of questions: one output row per image, and the matches, best first."""

    group: ClassVar[str] = "What to find"

    where: str = option(
        'Expression to match: \'"is there a dog?" and not "is it a toy?"\'.', unit="EXPRESSION", min_length=1
    )
    top_k: int | None = option("Number of matches to list. Default: all.", None, unit="N", ge=1, affects_result=False)
    ask_all: bool = option("Ask every question of every image, for calibration.", False)

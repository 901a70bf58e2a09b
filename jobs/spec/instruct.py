"""The specs of `vqa-ray instruct`."""

from __future__ import annotations

from typing import Any, ClassVar

from vqa_ray.jobs.spec.cache_group import CacheGroup
from vqa_ray.jobs.spec.endpoint_group import BatchGroup
from vqa_ray.jobs.spec.field import Spec, option
from vqa_ray.jobs.spec.groups import EngineGroup, GenerationGroup, LoggingGroup
from vqa_ray.jobs.spec.images_from_group import ImagesFromGroup
from vqa_ray.jobs.spec.text_group import TextGroup
from vqa_ray.jobs.spec.update_group import UpdatedSpec


class FilterGroup(Spec):
    """What becomes of replies that are whole and not wanted: a row in error, `filtered_…`."""

    group: ClassVar[str] = "Filters"

    min_words: int = option("Fewest words of an answer.", 1, unit="WORDS", ge=0)
    max_words: int | None = option("Most words of an answer.", None, unit="WORDS", ge=1)
    max_similarity: float = option(
        "Leave out a question this much like an earlier one about the image (ROUGE-L).", 0.8, unit="0..1", gt=0, le=1
    )
    exclude_images: list[str] = option(
        "Write nothing about images of this input, such as an evaluation set; compared by content. Repeatable.",
        [],
        unit="URI",
    )
    agree: str | None = option(
        "Second model that is asked whether each conversation is right; column `agreement` is P(yes).",
        None,
        unit="MODEL",
    )
    min_agreement: float = option(
        "Least agreement of --agree; conversations with less are filtered.", 0.5, unit="0..1", ge=0, le=1
    )
    second_option: dict[str, Any] = option(
        "Option of the second model, which has none of the first one's: base_url=URL. Repeatable.",
        {},
        unit="NAME=VALUE",
        affects_result=False,
    )


class InstructSpec(
    FilterGroup, GenerationGroup, EngineGroup, BatchGroup, TextGroup, CacheGroup, ImagesFromGroup, UpdatedSpec
):
    """Let a teacher write instruction data about images: one output row per image and task."""

    group: ClassVar[str] = "Instruction data"

    tasks: str | None = option(
        "Tasks, separated by commas. Default: all of the prompts file, those that write an object only with --schema.",
        None,
        unit="NAME,…",
    )
    prompts: str | None = option(
        "YAML file of tasks and their phrasings; --print-prompts prints the one that is used without.",
        None,
        unit="FILE",
    )
    object_schema: str | None = option(
        "Schema of the objects of the task attributes: see answer --schema.",
        None,
        unit="FILE|CLASS",
        name="schema",
    )
    seed: int = option("Seed of the choice among the phrasings of a task.", 0, unit="N")
    context: list[str] = option(
        "Column with what is known of the image, such as captions or boxes, told to the teacher. Repeatable.",
        [],
        unit="COLUMN",
    )
    text_only: bool = option("Show the teacher no image, only --context; for text models behind an endpoint.", False)
    llava: str | None = option(
        "Also write the conversations as LLaVA JSON, which other trainers read, at the end.",
        None,
        unit="FILE",
        group="Output",
        affects_result=False,
    )


class PrintPromptsSpec(LoggingGroup):
    """The option of `vqa-ray instruct` that prints its prompts."""

    group: ClassVar[str] = "Instruction data"

    print_prompts: bool = option("Print the prompts file that is used without --prompts, to copy and change.", False)

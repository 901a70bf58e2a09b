"""The tasks of Florence-2 are those of its processor."""

from __future__ import annotations

import pytest

from tests.helpers.tiny_florence2 import florence2
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.florence2.tasks import TASKS, TaskPrompts, form_of

PROMPTS = TaskPrompts()


def test_the_sentences_are_those_of_the_processor() -> None:
    processor = florence2()[1]
    own = processor.task_prompts_without_inputs | {
        task: sentence.replace("{input}", "{}") for task, sentence in processor.task_prompts_with_input.items()
    }
    assert own == TASKS
    for text in (
        *processor.task_prompts_without_inputs,
        *(f"{task} a red dog" for task in TASKS if "{}" in TASKS[task]),
    ):
        assert [PROMPTS.text(text)] == processor._construct_prompts(text)
    assert PROMPTS.text(" is there a dog? ") == "is there a dog?"


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("<OD> dogs", "the task <OD> stands alone; behind it stands 'dogs'"),
        ("<OPEN_VOCABULARY_DETECTION>", "the task <OPEN_VOCABULARY_DETECTION> needs a text"),
    ],
)
def test_a_task_in_the_wrong_form_is_refused(question: str, reason: str) -> None:
    with pytest.raises(RowError, match=reason) as caught:
        PROMPTS.text(question)
    assert caught.value.code == ErrorCode.ROW_MALFORMED


def test_each_task_points_in_its_own_form() -> None:
    processor = florence2()[1]
    forms = {"ocr": "quadrilaterals", "polygons": "polygons"}
    for task, kind in processor.tasks_answer_post_processing_type.items():
        assert form_of(TASKS[task].replace("{}", "a red dog")) == forms.get(kind, "boxes"), task
    assert form_of("is there a dog?") == "boxes"

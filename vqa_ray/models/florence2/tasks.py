"""The tasks of Florence-2: a token that stands for a sentence, and how the answer points at places. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.generation.boxes import LocationForm
from vqa_ray.models.generation.prompts import PLACEHOLDER
from vqa_ray.types import Turn

TASKS: Mapping[str, str] = {
    "<OCR>": "What is the text in the image?",
    "<OCR_WITH_REGION>": "What is the text in the image, with regions?",
    "<CAPTION>": "What does the image describe?",
    "<DETAILED_CAPTION>": "Describe in detail what is shown in the image.",
    "<MORE_DETAILED_CAPTION>": "Describe with a paragraph what is shown in the image.",
    "<OD>": "Locate the objects with category name in the image.",
    "<DENSE_REGION_CAPTION>": "Locate the objects in the image, with their descriptions.",
    "<REGION_PROPOSAL>": "Locate the region proposals in the image.",
    "<CAPTION_TO_PHRASE_GROUNDING>": "Locate the phrases in the caption: {}",
    "<REFERRING_EXPRESSION_SEGMENTATION>": "Locate {} in the image with mask",
    "<REGION_TO_SEGMENTATION>": "What is the polygon mask of region {}",
    "<OPEN_VOCABULARY_DETECTION>": "Locate {} in the image.",
    "<REGION_TO_CATEGORY>": "What is the region {}?",
    "<REGION_TO_DESCRIPTION>": "What does the region {} describe?",
    "<REGION_TO_OCR>": "What text is in the region {}?",
}
"""Task → the sentence that the model was trained on; `{}` stands for the text behind the task."""

CAPTION = "<CAPTION>"
_GROUNDING = TASKS["<CAPTION_TO_PHRASE_GROUNDING>"].removesuffix(PLACEHOLDER)
# The others point with boxes, or not at all.
_FORMS: Mapping[str, LocationForm] = {
    "<OCR_WITH_REGION>": "quadrilaterals",
    "<REFERRING_EXPRESSION_SEGMENTATION>": "polygons",
    "<REGION_TO_SEGMENTATION>": "polygons",
}


class TaskPrompts:
    """The wording of questions: a task becomes its sentence, any other text goes as it is."""

    def text(self, question: str, turns: Sequence[Turn] = ()) -> str:
        """Return the prompt of a question.

        Args:
            question: a task, a task with the text it is about, or free text.
            turns: none; each question stands by itself.

        Raises:
            RowError: `row_malformed` where a task has text that it does not take, or lacks text that it needs.
        """
        del turns
        text = question.strip()
        task = next((each for each in TASKS if each in text), None)
        if task is None:
            return text
        sentence, rest = TASKS[task], text.replace(task, "").strip()
        if PLACEHOLDER not in sentence and rest:
            raise RowError(ErrorCode.ROW_MALFORMED, f"the task {task} stands alone; behind it stands {rest[:80]!r}")
        if PLACEHOLDER in sentence and not rest:
            raise RowError(ErrorCode.ROW_MALFORMED, f"the task {task} needs a text or a region behind it")
        return sentence.replace(PLACEHOLDER, rest)


def is_grounding(prompt: str) -> bool:
    """Return whether a prompt asks for the places of a caption's phrases."""
    return prompt.startswith(_GROUNDING)


def form_of(prompt: str) -> LocationForm:
    """Return how the answer to a prompt, a task's sentence or free text, points at places."""
    for task, form in _FORMS.items():
        opening, _, ending = TASKS[task].partition(PLACEHOLDER)
        if prompt.startswith(opening) and prompt.endswith(ending):
            return form
    return "boxes"

"""Prompts of families that have no chat template: what a question and a caption are worded as. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_IMAGES = "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% endif %}{% endfor %}"
_TEXT = "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"


@dataclass(frozen=True, slots=True)
class PromptAdapter:
    """The prompts of one family.

    Attributes:
        template: a chat template of one message, images and text.
        caption: the text that asks for a caption.
        question: holds `{}` once, where the question goes.
        tasks: beginnings of the family's own tasks ("detect dog", "<OD>"), which go as they are.
        ending: what the processor sets between prompt and answer; None where the prompt's own end is the last.
    """

    template: str
    caption: str
    question: str = "{}"
    tasks: tuple[str, ...] = ()
    ending: str | None = None

    def word(self, question: str) -> str:
        """Return a question as the family knows it; its own tasks go as they are."""
        text = question.strip()
        return text if text.startswith(self.tasks) else self.question.replace("{}", text)


def _template(image: str) -> str:
    return "{% for message in messages %}" + _IMAGES.replace("IMAGE", image) + _TEXT + "{% endfor %}"


ADAPTERS: Mapping[str, PromptAdapter] = {
    "paligemma": PromptAdapter(
        _template("<image>"),
        caption="caption en",
        question="answer en {}",
        tasks=("answer ", "caption ", "cap ", "describe ", "detect ", "segment ", "ocr", "question "),
        ending="\n",
    ),
}

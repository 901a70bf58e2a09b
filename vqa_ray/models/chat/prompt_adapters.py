"""Prompts of families that have no chat template: what a question and a caption are worded as. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
        opening: how every caption begins.
        reserved: tokens of a processor that sets the image before a text itself; no question may hold them.
        image_end: the token that closes an image, where the placeholders of an image differ from each other.
        markup: pattern of the tokens that point at places; they are left out of the text of an answer.
        options: further arguments of the processor, those that this version of transformers knows.
    """

    template: str
    caption: str
    question: str = "{}"
    tasks: tuple[str, ...] = ()
    ending: str | None = None
    opening: str = ""
    reserved: tuple[str, ...] = ()
    image_end: str | None = None
    markup: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

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
    # The examples of the model's authors: https://huggingface.co/microsoft/kosmos-2-patch14-224.
    "kosmos-2": PromptAdapter(
        _template(""),
        caption="<grounding>",
        opening="An image of",
        question="<grounding> Question: {} Answer:",
        tasks=("<grounding>",),
        reserved=("<image>", "</image>"),
        image_end="</image>",
        markup=r"</?[a-z]\w*/?>",
    ),
    "fuyu": PromptAdapter(
        _template(""),
        caption="Generate a coco-style caption.",
        question="{}\n",
        ending="\n<0x04>",
        reserved=("|SPEAKER|", "|NEWLINE|", "<0x04>", "<s>"),
        # Without, where it is known: the older name `image_patches`, which `generate` no longer knows.
        options={"return_legacy_image_output": False},
    ),
}

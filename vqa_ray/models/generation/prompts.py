"""From a question, and what was said before it, to the text that a generative model continues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vqa_ray.errors import RequestError

PLACEHOLDER = "{}"
DEFAULT_TEMPLATE = "Question: {} Answer:"

# What LAVIS takes out of a lowercased question (`BlipQuestionProcessor`), and the most words that it leaves.
_CLEANED = str.maketrans("", "", '.!"()*#:;~')
_CLEANED_WORDS = 50


@dataclass(frozen=True, slots=True)
class Prompting:
    """The wording of prompts.

    Attributes:
        template: holds `{}` once, in the question's place.
        clean: lower the question's case and take `. ! " ( ) * # : ; ~` out of it, as LAVIS does.
        num_beams: how the style's authors search; None for greedily. What is asked for by itself goes before it.
        max_new_tokens: the most tokens that its authors let an answer have; None for the family's own limit.
        length_penalty: of encoder-decoder language models (T5) in beam search; None for 1.

    Raises:
        RequestError: the template does not hold `{}` exactly once.
    """

    template: str = DEFAULT_TEMPLATE
    clean: bool = False
    num_beams: int | None = None
    max_new_tokens: int | None = None
    length_penalty: float | None = None

    def __post_init__(self) -> None:
        found = self.template.count(PLACEHOLDER)
        if found != 1:
            raise RequestError(
                f"prompt template {self.template!r}: holds {PLACEHOLDER} {found} times; wanted is a text that holds it "
                f"once, where the question goes, or one of {', '.join(STYLES)}"
            )

    def text(self, question: str, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return the prompt of a question.

        Args:
            question: as it was asked.
            turns: (question, answer) of what was said before, oldest first. Each stands in the template's own form,
                followed by its answer: "Question: what is it? Answer: a dog. Question: what breed? Answer:".
        """
        said = [f"{self._asked(asked)} {answer.strip()}".rstrip().rstrip(".") + ". " for asked, answer in turns]
        return "".join(said) + self._asked(question)

    def _asked(self, question: str) -> str:
        return self.template.replace(PLACEHOLDER, cleaned(question.strip()) if self.clean else question.strip())


def cleaned(question: str) -> str:
    """Clean a question as LAVIS' `BlipQuestionProcessor` does: lower case, some marks removed, at most 50 words."""
    words = question.lower().translate(_CLEANED).rstrip(" ").split(" ")
    return " ".join(words[:_CLEANED_WORDS])


STYLES = {
    # Hugging Face's guide for BLIP-2.
    "question": Prompting(),
    # LAVIS' zero-shot VQA evaluation of BLIP-2.
    "lavis": Prompting("Question: {} Short answer:", clean=True, num_beams=5, max_new_tokens=10, length_penalty=-1.0),
    # The question alone, for models that were trained on it: BLIP, InstructBLIP, chat models.
    "plain": Prompting(PLACEHOLDER),
}


def prompting(given: str) -> Prompting:
    """Return a style by its name, or a template of the user's own.

    Raises:
        RequestError: neither: a text that does not hold `{}` exactly once.
    """
    return STYLES[given] if given in STYLES else Prompting(given)

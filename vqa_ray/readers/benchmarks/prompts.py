"""The texts that benchmarks ask: question, hint and options as their papers or official scripts put them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vqa_ray.errors import RequestError

PLACEHOLDERS = ("{question}", "{options}", "{hint}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The wording of a benchmark.

    Attributes:
        choose: of a question with choices, with `{question}`, `{options}` and `{hint}`.
        answer: of a question without.
        option: of each choice, with `{letter}` and `{text}`.
        between: the text between two options.
        hint: of the hint, with `{text}`.
        no_hint: in the place of the hint where there is none.
    """

    choose: str = "{question}"
    answer: str = "{question}"
    option: str = "{letter}. {text}"
    between: str = "\n"
    hint: str = "{text}\n"
    no_hint: str = ""

    def text(self, question: str, choices: Mapping[str, str], hint: str | None) -> str:
        """Return the text to ask.

        Args:
            question: as published.
            choices: letter → text.
            hint: None for none.
        """
        options = (self.option.format(letter=letter, text=text) for letter, text in choices.items())
        parts = {
            "{question}": question,
            "{options}": self.between.join(options),
            "{hint}": self.hint.format(text=hint) if hint else self.no_hint,
        }
        asked, rest = [], self.choose if choices else self.answer
        while rest:
            # Placeholders in what was put in are text.
            at, name = min(((rest.find(name), name) for name in PLACEHOLDERS if name in rest), default=(len(rest), ""))
            asked += [rest[:at], parts.get(name, "")]
            rest = rest[at + len(name) :]
        return "".join(asked)


# LLaVA-1.5's form, in which SEED-Bench and AI2D are asked since: SEED-Bench itself ranks likelihoods.
LETTER = Prompt("{hint}{question}\n{options}\nAnswer with the option's letter from the given choices directly.")
# VLMEvalKit, by MMBench's authors: `ImageMCQDataset.build_prompt`.
MMBENCH = Prompt(
    "{hint}Question: {question}\nOptions:\n{options}\nPlease select the correct answer from the options above.",
    hint="Hint: {text}\n",
)
# `create_one_example` of ScienceQA's models/base_prompt.py, input format QCM.
SCIENCEQA = Prompt(
    "Question: {question}\nContext: {hint}\nOptions: {options}\nAnswer:",
    option="({letter}) {text}",
    between=" ",
    hint="{text}",
    no_hint="N/A",
)
# MMMU's configs/llava1.5.yaml and `construct_prompt`.
MMMU = Prompt(
    "{question}\n\n{options}\n\n\nAnswer with the option's letter from the given choices directly.",
    "{question}\n\nAnswer the question using a single word or phrase.",
    option="({letter}) {text}",
)
# The question as it is published.
BARE = Prompt()


def own_prompt(template: str) -> Prompt:
    """Return a prompt of a user's own wording.

    Raises:
        RequestError: it does not say where the question goes.
    """
    if template.count("{question}") != 1:
        raise RequestError(
            f"--question-template {template!r}: wanted is a text with {{question}} once, and {{options}} and {{hint}} "
            "where those go"
        )
    return Prompt(template, template)

"""What benchmarks of lettered options share: the right letter, and the letter that an answer chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vqa_ray.evaluation.option_letter import option_letter
from vqa_ray.evaluation.options import OPTION_COLUMNS, UNSTATED, options_of, right_letter
from vqa_ray.evaluation.protocol import Judgement, Protocol, Roles


class MultipleChoice(Protocol):
    """An answer is right if it chooses the right letter."""

    truth: ClassVar[Roles] = {"answer": ("truth", "answer")}
    optional: ClassVar[Roles] = OPTION_COLUMNS

    def read(self, text: str, options: Mapping[str, str]) -> str | None:
        """Return the letter that a text chooses, None where it cannot be read."""
        return option_letter(text, options)

    def judge(self, prediction: Any, truth: Mapping[str, Any]) -> Judgement:
        options = options_of(truth) or UNSTATED
        right = right_letter(truth["answer"], options)
        letter = self.read(prediction, options)
        return Judgement(float(letter == right), letter, right)

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        return self.judge("", truth)

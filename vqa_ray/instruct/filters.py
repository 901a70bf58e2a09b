"""The filters of instruction data: refusals, length, near-duplicate questions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.evaluation.rouge import rouge_l
from vqa_ray.instruct.replies import Pair

# A refusal says so at once.
_OPENING_CHARACTERS = 240
_REFUSALS = re.compile(
    r"\bas an? (?:ai|artificial|language model|text-based)"
    r"|\bi(?:'m| am) (?:sorry|afraid|unable|not able)\b"
    r"|\bi (?:can(?:no|')t|can not|do not|don't) (?:see|view|access|help|assist|provide|comply|process|analy[sz]e)\b"
    r"|\b(?:no|any) image (?:was|has been|is) (?:provided|attached|given|shown)"
    r"|\bplease (?:provide|upload|share|attach) (?:the|an|your) image",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a reply must be.

    Attributes:
        min_words, max_words: of each answer.
        max_similarity: ROUGE-L (0-1) of two questions about an image from which on the later one is left out.
    """

    min_words: int = 1
    max_words: int | None = None
    max_similarity: float = 0.8

    def check(self, pairs: Sequence[Pair]) -> None:
        """Check the answers of a reply.

        Raises:
            RowError: `filtered_refusal` or `filtered_length`.
        """
        for _, answer in pairs:
            if _REFUSALS.search(answer[:_OPENING_CHARACTERS].replace("\u2019", "'")):
                raise RowError(ErrorCode.FILTERED_REFUSAL, f"the teacher refuses: {answer[:120]!r}")
            words = len(answer.split())
            if words < self.min_words or (self.max_words is not None and words > self.max_words):
                most = "" if self.max_words is None else f", --max-words {self.max_words}"
                reason = f"an answer of {words} words; allowed are --min-words {self.min_words}{most}"
                raise RowError(ErrorCode.FILTERED_LENGTH, reason)

    def distinct(self, pairs: Sequence[Pair], asked: list[str]) -> tuple[list[Pair], str | None]:
        """Leave out near-duplicate questions; return the pairs that stay, and a warning about the others.

        Args:
            pairs: questions with answers, at least one.
            asked: earlier questions about the image, to which those that stay are added.

        Raises:
            RowError: `filtered_duplicate` where no pair stays.
        """
        kept = []
        for question, answer in pairs:
            words = _words(question)
            if all(_similarity(words, _words(other)) < self.max_similarity for other in asked):
                asked.append(question)
                kept.append((question, answer))
        left_out = len(pairs) - len(kept)
        if not kept:
            raise RowError(ErrorCode.FILTERED_DUPLICATE, f"asked about the image already: {pairs[0][0][:120]!r}")
        return kept, f"{left_out} of {len(pairs)} questions were near-duplicates" if left_out else None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Return ROUGE-L of two texts, the same in both directions."""
    return min(rouge_l(one, [other]), rouge_l(other, [one])) if one and other else float(one == other)

"""Prompts as tokens, within what a model can read. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.types import Turn


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question as the language model reads it.

    Attributes:
        text: of the prompt.
        ids: its tokens, at least one.
        warning: what had to be left out, or None.
    """

    text: str
    ids: tuple[int, ...]
    warning: str | None = None


class Wording(Protocol):
    """Makes a prompt of a question; see `vqa_ray.models.generation.prompts.Prompting`."""

    def text(self, question: str, turns: Sequence[Turn]) -> str:
        """Word a question after earlier turns, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class PromptTruncator:
    """Words prompts and cuts them to size.

    Attributes:
        tokenize: text → token ids, special tokens included.
        prompting: question and earlier turns → text.
        limit: tokens that a prompt may have.
        image_token: the id that stands for an image; a question that spells it out is refused, as the model would take
            it for a place in the picture.
    """

    tokenize: Callable[[str], Sequence[int]]
    prompting: Wording
    limit: int
    image_token: int | None = None

    def fit(self, question: str, turns: Sequence[Turn] = ()) -> Prompt:
        """Fit a question: drop the oldest turns, then cut the end of the question.

        Raises:
            RowError: `row_malformed` when the prompt spells the image token, or nothing of the question fits.
        """
        kept = list(turns)
        text, ids = self._worded(question, kept)
        while len(ids) > self.limit and kept:
            kept.pop(0)
            text, ids = self._worded(question, kept)
        dropped = len(turns) - len(kept)
        notes = [f"{dropped} of {len(turns)} earlier turns left out: the context is full"] if dropped else []
        if len(ids) > self.limit:
            notes.append(f"question cut: its prompt has {len(ids)} tokens, the model reads {self.limit}")
            text, ids = self._cut(question)
        return Prompt(text, ids, "; ".join(notes) or None)

    def _cut(self, question: str) -> tuple[str, tuple[int, ...]]:
        """Cut a question to what fits, by bisection over its characters."""
        fits, too_many = 0, len(question)
        best: tuple[str, tuple[int, ...]] | None = None
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            worded = self._worded(question[:middle], ())
            if len(worded[1]) <= self.limit:
                fits, best = middle, worded
            else:
                too_many = middle
        if best is None:
            raise RowError(
                ErrorCode.ROW_MALFORMED, f"the prompt's template alone fills the model's {self.limit} tokens"
            )
        return best

    def plain(self, text: str) -> Prompt:
        """Make a prompt of the user's own words.

        Raises:
            RowError: `row_malformed` when it is too long.
        """
        ids = self._tokens(text)
        if len(ids) > self.limit:
            raise RowError(
                ErrorCode.ROW_MALFORMED, f"the prompt has {len(ids)} tokens; the model reads at most {self.limit}"
            )
        return Prompt(text, ids)

    def _worded(self, question: str, turns: Sequence[Turn]) -> tuple[str, tuple[int, ...]]:
        text = self.prompting.text(question, turns)
        return text, self._tokens(text)

    def _tokens(self, text: str) -> tuple[int, ...]:
        ids = tuple(self.tokenize(text))
        if self.image_token is not None and self.image_token in ids:
            raise RowError(ErrorCode.ROW_MALFORMED, "the text spells the token that stands for the image")
        return ids

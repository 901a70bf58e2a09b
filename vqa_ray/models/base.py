"""What every model family offers: a light image transform for the CPU tasks and a model for the actors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


class ImageTransform(Protocol):
    """Where an image of a given size must be resized to. Picklable, holds no weights, imports no torch at load."""

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels that the model wants for a source of this size.

        Raises:
            RowError: `image_aspect_ratio` when no usable size exists.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One question answered.

    Attributes:
        answers: (answer, score), best first, at most `top_k`.
        warning: what happened to the question on the way (cut to the model's limit), or None.
    """

    answers: tuple[tuple[str, float], ...]
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class ChoiceScores:
    """Scores of the choices of one closed question, in the order of the choices; NaN for one the model cannot say."""

    scores: tuple[float, ...]
    warning: str | None = None


class VqaModel(Protocol):
    """A loaded model. `images` is B uint8 arrays (H, W, 3) that the family's `ImageTransform` has sized; each brings
    its own questions, so an image is encoded once however many questions it has."""

    score_meaning: str
    """What a score of `answer` is, one line for the Parquet metadata."""

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[str]], top_k: int) -> list[list[Answer]]:
        """Answer each question freely: B lists of as many `Answer` as that image has questions."""
        ...

    def score(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        """Score the given choices of each question, shaped like `questions`.

        For yes/no questions the caller passes `("yes", "no")`.
        """
        ...

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """Whether each choice can be scored directly (a closed vocabulary may lack some)."""
        ...

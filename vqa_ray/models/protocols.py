"""What every model family offers: a light image transform for the CPU tasks and a model for the actors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

ImageOrImages: TypeAlias = Image | tuple[Image, ...]
"""What a question is about: an image or, for the families that take several, all of them in order."""

Turn: TypeAlias = tuple[str, str]
"""An earlier question and its answer."""

FinishReason: TypeAlias = Literal["stop", "length"]
"""How a text ended: the model closed it, or it reached the limit of new tokens and was cut."""


class ImageTransform(Protocol):
    """Where an image of a given size must be resized to. Picklable, holds no weights, imports no torch at load."""

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels that the model wants for a source of this size.

        Raises:
            RowError: `image_aspect_ratio` when no usable size exists.
        """
        ...


@dataclass(frozen=True, slots=True)
class Box:
    """Where in the image something is: corners in 0..1 of its width (x) and height (y), from the upper left.

    Attributes:
        label: what it is, as the model says; empty where it says nothing.
        x0, y0, x1, y1: left, upper, right and lower edge.
    """

    label: str
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One question answered, or one image captioned.

    Attributes:
        answers: (answer, score), best first, at most `top_k`.
        warning: what happened on the way (a question cut to the model's limit, turns dropped), or None.
        boxes: what the answer points at; only of families that can.
        finish_reason: how the best answer's text ended; None where it was chosen and not written.
    """

    answers: tuple[tuple[str, float], ...]
    warning: str | None = None
    boxes: tuple[Box, ...] = ()
    finish_reason: FinishReason | None = None


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


@dataclass(frozen=True, slots=True)
class EmbeddingShape:
    """What an encoder makes of an image: `vectors` unit vectors of `dimension` numbers each. A text is always one."""

    vectors: int
    dimension: int


class Encoder(Protocol):
    """A loaded dual encoder: images and texts become vectors of one space, each of length 1.

    The score of a text and an image is the largest dot product of the text's vector and one of the image's; that of
    two images the mean, over the vectors of the first, of the largest with one of the second's. Both are the cosine
    where an image is one vector.
    """

    dimension: int
    """D, of one vector."""

    vectors: int
    """Of an image: 1, or the query tokens of BLIP-2."""

    score_meaning: str
    """What a score is, one line for the Parquet metadata."""

    def encode_images(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """float32 (B, vectors * dimension): the vectors of each image one after the other, each L2-normalised.

        Args:
            images: B uint8 arrays (H, W, 3) that the family's `ImageTransform` has sized.
        """
        ...

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 (T, dimension), L2-normalised. A text longer than the model reads is cut at its end."""
        ...


class GenerativeModel(VqaModel, Protocol):
    """A model that writes its answers. Scores are exp(mean log-probability of the tokens written)."""

    def answer(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        top_k: int,
        *,
        contexts: Sequence[Sequence[Sequence[Turn]]] | None = None,
    ) -> list[list[Answer]]:
        """As `VqaModel.answer`; an answer of no words is the empty string, with its score.

        Args:
            images, questions, top_k: see `VqaModel.answer`. Where `Family.takes_several`, a question may be about
                several images.
            contexts: per image, per question, the turns before it, oldest first; None for none. The oldest are dropped
                until the rest fits the model, which the answer's `warning` tells.
        """
        ...

    def caption(self, images: Sequence[Image], prompt: str | None) -> list[Answer]:
        """Describe each image: one `Answer` each, with one (caption, score).

        Args:
            images: see `VqaModel`.
            prompt: what the caption is to begin with, "a photo of"; None leaves it to the model. The caption comes
                back whole, beginning included.
        """
        ...

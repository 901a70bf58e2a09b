"""Types that models, stages and readers share: images, answers, boxes, shapes. No torch."""

from __future__ import annotations

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
        is_unscored: whether the scores are unknown (NaN), which `warning` explains.
    """

    answers: tuple[tuple[str, float], ...]
    warning: str | None = None
    boxes: tuple[Box, ...] = ()
    finish_reason: FinishReason | None = None
    is_unscored: bool = False


@dataclass(frozen=True, slots=True)
class ChoiceScores:
    """Scores of the choices of one closed question, in the order of the choices; NaN for one the model cannot say."""

    scores: tuple[float, ...]
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingShape:
    """What an encoder makes of an image: `vectors` unit vectors of `dimension` numbers each. A text is always one."""

    vectors: int
    dimension: int

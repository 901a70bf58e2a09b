"""Types that models, stages and readers share: images, answers, boxes, shapes. No torch."""

from __future__ import annotations

from collections.abc import Iterable
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
class Usage:
    """The tokens that answers took, as an endpoint counts them.

    Attributes:
        requests: that were answered.
        prompt_tokens: read, images included.
        completion_tokens: written.
        cost: at the given prices; None without prices.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: Usage) -> Usage:
        known = [each.cost for each in (self, other) if each.cost is not None]
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            sum(known) if known else None,
        )


def total_usage(usages: Iterable[Usage | None]) -> Usage | None:
    """Add up what is known; None where nothing is."""
    known = [usage for usage in usages if usage is not None]
    return sum(known, Usage()) if known else None


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
        usage: what an endpoint took for it; None for a model that runs here, and where the endpoint does not say.
    """

    answers: tuple[tuple[str, float], ...]
    warning: str | None = None
    boxes: tuple[Box, ...] = ()
    finish_reason: FinishReason | None = None
    is_unscored: bool = False
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class ChoiceScores:
    """Scores of the choices of one closed question, in the order of the choices; NaN for one the model cannot say."""

    scores: tuple[float, ...]
    warning: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """A JSON object as a model wrote it, held to a schema.

    Attributes:
        text: the object; with `finish_reason` `length`, as much of it as was written.
        tokens: the tokens of `text`, as bytes of UTF-8.
        log_probabilities: natural logarithm of the probability of each token among those that the schema allowed in
            its place, 0 for the only one; None where they are unknown.
        finish_reason: how it ended.
        warning: what happened on the way, or None.
        usage: see `Answer`.
    """

    text: str
    tokens: tuple[bytes, ...]
    log_probabilities: tuple[float, ...] | None
    finish_reason: FinishReason
    warning: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingShape:
    """What an encoder makes of an image: `vectors` unit vectors of `dimension` numbers each. A text is always one."""

    vectors: int
    dimension: int

"""Protocols that model families implement: the light image transform is in `vqa_ray.types`, the models here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vqa_ray.types import Answer, ChoiceScores, Image, ImageOrImages, Turn, WrittenObject


class VqaModel(Protocol):
    """A loaded model.

    `images` is B uint8 arrays (H, W, 3) that the family's `ImageTransform` has sized; each brings its own questions, so
    an image is encoded once however many questions it has.
    """

    score_meaning: str
    """The meaning of a score of `answer`, one line for the Parquet metadata."""

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
        """Return whether each choice can be scored directly (a closed vocabulary may lack some)."""
        ...


class Encoder(Protocol):
    """A loaded dual encoder: images and texts become vectors of one space, each of length 1.

    The score of a text and an image is the largest dot product of the text's vector and one of the image's; that of
    two images the mean, over the vectors of the first, of the largest with one of the second's. Both are the cosine
    where an image is one vector.
    """

    dimension: int
    """The length D of a vector."""

    vectors: int
    """The vectors of an image: 1, or the number of query tokens of BLIP-2."""

    score_meaning: str
    """The meaning of a score, one line for the Parquet metadata."""

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
        """Answer as `VqaModel.answer` does; an answer of no words is the empty string, with its score.

        Args:
            images: see `VqaModel`. Where `Family.takes_several`, a question may be about several images.
            questions: see `VqaModel.answer`.
            top_k: the most answers of a question.
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


@runtime_checkable
class StructuredModel(Protocol):
    """A model that writes JSON objects, held to a schema while it writes."""

    def fill(
        self, images: Sequence[ImageOrImages], prompts: Sequence[str], schema: Mapping[str, Any]
    ) -> list[WrittenObject]:
        """Write an object about each image, with the likeliest token that the schema allows each time.

        Args:
            images: see `GenerativeModel.answer`.
            prompts: what to write about each image, as many as images.
            schema: JSON Schema of an object; see `vqa_ray.structured.object_schema.ObjectSchema.wire`.

        Raises:
            RowError: of the first image that no object was written about.
            RequestError: the model cannot write what the schema asks for.
        """
        ...

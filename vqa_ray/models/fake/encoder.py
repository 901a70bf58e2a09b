"""An encoder without weights: vectors follow from the colours of an image, and from the colours that a text names.

It makes indexing and search runnable in seconds, for a first try on one's own images and for tests, without torch.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.fake.model import COLOURS, FAILURE
from vqa_ray.models.fake.sizes import DIMENSION
from vqa_ray.models.score_meanings import similarity_meaning
from vqa_ray.types import Image

# After the colours: brightness and variation of each channel, which tell images of one colour apart.
_FURTHER = DIMENSION - len(COLOURS)

_NAMES = tuple(COLOURS)
_POINTS = np.array(list(COLOURS.values()), np.float32)
# How fast a colour stops being like another, in steps of 255; and how little the further numbers weigh.
_FADES = 40.0
_LITTLE = 0.1


class FakeEncoder:
    """Deterministic vectors; implements `Encoder`. "red", or "a red mug", is nearest to what is red.

    Args:
        vectors: 1, or 4 for a vector of each quarter of an image: upper left, upper right, lower left, lower right.
    """

    dimension = DIMENSION

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, device: str | None = None, dtype: str | None = None) -> Self:
        """Make the encoder of a reference; it has no device or dtype."""
        del device, dtype
        return cls(checkpoint.shape.vectors)

    def __init__(self, vectors: int = 1) -> None:
        self.vectors = vectors
        self.score_meaning = similarity_meaning(vectors)

    def encode_images(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """float32 (B, vectors * dimension); see `Encoder`."""
        found = [np.concatenate([_of_image(part) for part in self._parts(image)]) for image in images]
        return np.array(found, np.float32).reshape(len(images), self.vectors * DIMENSION)

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 (T, dimension); see `Encoder`.

        Raises:
            ValueError: a text holds `FAILURE`.
        """
        return np.array([_of_text(text) for text in texts], np.float32).reshape(len(texts), DIMENSION)

    def _parts(self, image: Image) -> list[Image]:
        if self.vectors == 1:
            return [image]
        middle, centre = image.shape[0] // 2, image.shape[1] // 2
        halves = (image[:middle], image[middle:])
        return [part for half in halves for part in (half[:, :centre], half[:, centre:])]


def _of_image(image: Image) -> npt.NDArray[np.float32]:
    pixels = image.reshape(-1, 3).astype(np.float32)
    mean = pixels.mean(axis=0)
    likeness = np.exp(-np.linalg.norm(_POINTS - mean, axis=1) / _FADES)
    further = _LITTLE * np.concatenate([mean, pixels.std(axis=0)]) / 255.0
    return _normalised(np.concatenate([likeness, likeness.max() * further]))


def _of_text(text: str) -> npt.NDArray[np.float32]:
    if FAILURE in text:
        raise ValueError(f"the text holds {FAILURE}")
    vector = np.zeros(DIMENSION, np.float32)
    for word in re.findall(r"\w+", text.lower()):
        colour = _NAMES.index(word) if word in COLOURS else None
        if colour is None:
            # A hash that is stable between processes, unlike hash().
            vector[len(COLOURS) + zlib.crc32(word.encode()) % _FURTHER] += _LITTLE
        else:
            vector[colour] += 1.0
    return _normalised(vector if vector.any() else np.ones(DIMENSION, np.float32))


def _normalised(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit

"""Images unlike those a model was trained on, recognised by simple statistics of their pixels. No torch.

The distance of a model's own features does not tell them: by its patch embeddings, its last [CLS] state and the vectors
of `bundled:catalog-clip`, photos of groceries and clothing lie among the rendered products of `bundled:catalog-vilt`
(at 1 % false alarms these find 1 %, 10 % and 21 % of the photos). What differs is how rough, grainy and coloured an
image is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqa_ray.models.protocols import VqaModel
from vqa_ray.types import Answer, ChoiceScores, Image

FILE = "familiarity.npz"
WARNING = "the image is unlike those the model was trained on"

_NEIGHBOURS = 3
_BORDER = 4
_SLOPES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
_EDGES = (0.1, 0.5, 0.9)
_RIDGE = 1e-3

Features = npt.NDArray[np.float32]


def image_statistics(image: Image) -> Features:
    """Describe the texture and colour of an image.

    Args:
        image: uint8 (H, W, 3), at least 9 pixels on each side.

    Returns:
        float32 (16,): logarithms of quantiles of the slopes and of the Laplacian, of saturation, of contrast, and of
        how rough the upper and lower border are.
    """
    x = image.astype(np.float32)
    down, right = np.abs(np.diff(x, axis=0)).mean(2), np.abs(np.diff(x, axis=1)).mean(2)
    slopes = np.concatenate([down.ravel(), right.ravel()])
    middle = x[1:-1, 1:-1]
    edges = np.abs(4 * middle - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]).mean(2)
    saturation = x.max(2) - x.min(2)
    strips = (x[:_BORDER], x[-_BORDER:], x[:, :_BORDER], x[:, -_BORDER:])
    border = np.concatenate([strip.reshape(-1, 3) for strip in strips])
    rough = [np.abs(np.diff(strip, axis=1)).mean() for strip in strips[:2]]
    fine = [*np.quantile(slopes, _SLOPES), *np.quantile(edges, _EDGES), slopes.mean()]
    broad = [saturation.mean(), saturation.std(), border.std(0).mean(), x.std((0, 1)).mean()]
    values = np.concatenate([np.array(fine) + 0.5, np.array(broad) + 1, np.array(rough) + 0.5])
    logarithms: Features = np.log(values).astype(np.float32)
    return logarithms


@dataclass(frozen=True, slots=True)
class Familiarity:
    """The statistics of training images, and how far others may be from them.

    Attributes:
        mean: float32 (F,).
        whitening: float32 (F, F).
        references: float16 (N, F), whitened statistics of training images.
        limit: the largest mean squared distance to the three nearest references that counts as familiar.
    """

    mean: Features
    whitening: Features
    references: npt.NDArray[np.float16]
    limit: float

    @classmethod
    def fit(cls, images: Sequence[Image], false_alarms: float) -> Familiarity:
        """Measure training images.

        Args:
            images: uint8 (H, W, 3) at the model's own size, at least a hundred.
            false_alarms: the share of images like these that may count as unfamiliar, in 0..1.
        """
        features = np.stack([image_statistics(image) for image in images])
        mean = features.mean(0)
        covariance = np.cov((features - mean).T)
        ridge = _RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        whitening = np.linalg.cholesky(np.linalg.inv(covariance + ridge)).astype(np.float32)
        references = ((features - mean) @ whitening).astype(np.float16)
        unlimited = cls(mean, whitening, references, float("inf"))
        own = unlimited._nearest(references.astype(np.float32), _NEIGHBOURS + 1)[:, 1:].mean(1)
        return replace(unlimited, limit=float(np.quantile(own, 1 - false_alarms)))

    @classmethod
    def read(cls, path: Path) -> Familiarity:
        """Read what `write` wrote."""
        with np.load(path, allow_pickle=False) as content:
            return cls(content["mean"], content["whitening"], content["references"], float(content["limit"]))

    def write(self, path: Path) -> None:
        """Write a compressed `.npz`."""
        np.savez_compressed(
            path, mean=self.mean, whitening=self.whitening, references=self.references, limit=np.float32(self.limit)
        )

    def is_unlike(self, images: Sequence[Image]) -> list[bool]:
        """Tell of each uint8 (H, W, 3) image whether it is unlike the training images."""
        if not images:
            return []
        measured = np.stack([image_statistics(image) for image in images])
        features = ((measured - self.mean) @ self.whitening).astype(np.float32)
        unlike: list[bool] = (self._nearest(features, _NEIGHBOURS).mean(1) > self.limit).tolist()
        return unlike

    def _nearest(self, features: Features, count: int) -> Features:
        """Squared distances (B, count) to the nearest references, ascending."""
        references = self.references.astype(np.float32)
        squares = (features**2).sum(1)[:, None] + (references**2).sum(1)[None] - 2 * features @ references.T
        nearest: Features = np.sort(np.partition(np.maximum(squares, 0), count - 1, axis=1)[:, :count], axis=1)
        return nearest


class FamiliarityWarnings:
    """A model whose answers warn where the image is unlike those it was trained on.

    Args:
        model: any that looks at one image at a time; all its other attributes show through.
        familiarity: of its training images.
    """

    def __init__(self, model: VqaModel, familiarity: Familiarity) -> None:
        self._model = model
        self._familiarity = familiarity

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[str]], top_k: int) -> list[list[Answer]]:
        """See `VqaModel.answer`."""
        return self._warned(images, self._model.answer(images, questions, top_k))

    def score(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        """See `VqaModel.score`."""
        return self._warned(images, self._model.score(images, questions, choices))

    def _warned(self, images: Sequence[Image], results: list[list[Any]]) -> list[list[Any]]:
        unlike = self._familiarity.is_unlike(images)
        return [
            [_with_warning(each) for each in of_image] if is_unlike else of_image
            for is_unlike, of_image in zip(unlike, results, strict=True)
        ]


def _with_warning(result: Any) -> Any:
    return replace(result, warning=f"{result.warning}; {WARNING}" if result.warning else WARNING)

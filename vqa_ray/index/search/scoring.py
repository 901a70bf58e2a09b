"""Similarity scores of a query and images, by their vectors.

A text has one vector, an image has one or (BLIP-2) several. The score of a text and an image is the largest dot
product; of two images the mean, over the vectors of the query, of the largest dot product with the other image's
vectors; of a query with both the mean of the two scores. With one vector per image each of these is a cosine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RequestError

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

# Rounding of float32: the error of a dot product of D numbers is at most about D times this, for vectors of length 1.
_ROUNDING = 2.0**-24
# A generous factor for vectors longer than 1 by rounding.
_SLACK = 4.0
# float64 values per block of exact scoring.
_VALUES_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True)
class Query:
    """The vectors of a query.

    Attributes:
        text: float32 (D,), of length 1; None for none.
        image: float32 (V * D,), the vectors of an image one after the other; None for none.
    """

    text: Vectors | None = None
    image: Vectors | None = None


class Scorer:
    """Scores images against a query.

    Args:
        query: a text, an image or both.
        vectors: V, of each image.
        dimension: D, of each vector.

    Raises:
        RequestError: the query is empty, has another dimension, or is not finite.
    """

    def __init__(self, query: Query, vectors: int, dimension: int) -> None:
        self._vectors, self._dimension = vectors, dimension
        parts = []
        if query.text is not None:
            parts.append(_checked("text", query.text, 1, dimension))
        if query.image is not None:
            parts.append(_checked("image", query.image, vectors, dimension))
        if not parts:
            raise RequestError("a search needs a text, an image or both")
        self.rows: Vectors = np.concatenate(parts)
        """float32 (Q, D): all vectors of the query."""
        weights = np.concatenate([np.full(len(part), 1 / (len(parts) * len(part)), np.float64) for part in parts])
        if vectors == 1:
            # The dot product is linear: one vector stands for all.
            self.rows = (weights @ self.rows.astype(np.float64)).astype(np.float32)[None]
            weights = np.ones(1)
        self._weights = weights

    @property
    def rounding(self) -> float:
        """The maximum difference between `quick` and `scores`, for vectors of length 1."""
        return _SLACK * self._dimension * _ROUNDING

    def quick(self, embeddings: Vectors) -> Scores:
        """float32 (N,): scores up to rounding, which depends on neighbouring rows.

        Args:
            embeddings: float32 (N, V * D).
        """
        dots = embeddings.reshape(-1, self._dimension) @ self.rows.T
        if self._vectors == 1:
            quick: Scores = dots[:, 0]
            return quick
        best: Scores = dots.reshape(len(embeddings), self._vectors, len(self.rows)).max(axis=1)
        return best @ self._weights.astype(np.float32)

    def scores(self, embeddings: Vectors) -> Scores:
        """float32 (N,): scores that do not depend on neighbouring rows; summed in float64.

        Args:
            embeddings: float32 (N, V * D).
        """
        found: Scores = np.empty(len(embeddings), np.float32)
        rows = self.rows.T.astype(np.float64)
        at_once = max(1, _VALUES_AT_ONCE // max(1, self._vectors * max(self._dimension, rows.shape[1])))
        for start in range(0, len(embeddings), at_once):
            block = embeddings[start : start + at_once].astype(np.float64)
            # One small product per row, so that its sums are formed in the same order wherever it stands.
            dots = block.reshape(-1, self._vectors, self._dimension) @ rows
            found[start : start + at_once] = dots.max(axis=1) @ self._weights
        return found


def _checked(name: str, values: Vectors, vectors: int, dimension: int) -> Vectors:
    if values.shape != (vectors * dimension,):
        wanted = f"{vectors} × {dimension}" if vectors > 1 else str(dimension)
        raise RequestError(f"the query's {name} has {values.size} numbers, the index {wanted}: of another model")
    if not np.isfinite(values).all():
        raise RequestError(f"the model's vector of the query's {name} holds a number that is not finite")
    return values.astype(np.float32).reshape(vectors, dimension)

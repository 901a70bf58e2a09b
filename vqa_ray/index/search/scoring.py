"""How alike a query and images are, by their vectors.

A text has one vector, an image one or (BLIP-2) several. A text and an image score the largest dot product; two images
the mean, over the vectors of the one asked with, of the largest with one of the other's; a query of both the mean of
the two scores. With one vector per image all of that is a cosine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RequestError

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

# Rounding of float32: a dot product of D numbers, of vectors of length 1, is off by at most about D times this.
_ROUNDING = 2.0**-24
# How much longer than 1 a vector can be made by rounding, and more than enough for it.
_SLACK = 4.0
# float64 values that scoring without rounding holds at a time.
_VALUES_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

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
        RequestError: the query is empty, of another dimension, or not finite.
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
        """How far a score of `quick` can be from that of `scores`, for vectors of length 1."""
        return _SLACK * self._dimension * _ROUNDING

    def quick(self, embeddings: Vectors) -> Scores:
        """float32 (N,): scores up to rounding, which depends on what stands beside a row.

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
        """float32 (N,): scores that are the same whatever stands beside a row; summed in float64.

        Args:
            embeddings: float32 (N, V * D).
        """
        found: Scores = np.empty(len(embeddings), np.float32)
        rows = self.rows.T.astype(np.float64)
        at_once = max(1, _VALUES_AT_ONCE // max(1, self._vectors * max(self._dimension, rows.shape[1])))
        for start in range(0, len(embeddings), at_once):
            block = embeddings[start : start + at_once].astype(np.float64)
            # One small product per row, so that a row's sums are formed in the same order wherever it stands.
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

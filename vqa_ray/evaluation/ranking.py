"""Average precision of a ranked list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class RankedList:
    """A list sorted by score once, of which average precision is computed for many weights.

    It is that of scikit-learn's `average_precision_score`, which takes ten times as long; a bootstrap computes it some
    ten thousand times.
    """

    def __init__(self, relevant: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> None:
        """Sort the list.

        Args:
            relevant: bool (N,).
            scores: float64 (N,); higher ones come first, equal ones count together.
        """
        self._order = np.argsort(-scores, kind="stable")
        self._relevant = relevant[self._order].astype(np.float64)
        ordered = scores[self._order]
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

    def average_precision(self, weight: npt.NDArray[np.float64]) -> float:
        """Return the average precision, 0..1; NaN where nothing is relevant.

        Args:
            weight: float64 (N,), how often each item counts.
        """
        ordered = weight[self._order]
        hits, seen = (np.cumsum(each)[self._ends] for each in (ordered * self._relevant, ordered))
        if not hits[-1]:
            return float("nan")
        return float(np.diff(hits, prepend=0.0) @ (hits / np.maximum(seen, 1.0)) / hits[-1])

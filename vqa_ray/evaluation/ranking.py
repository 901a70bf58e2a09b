"""Measures of a ranked list: precision and recall among the first k, average precision, nDCG.

Average precision and nDCG are as in scikit-learn: items of equal score count together. Among the first k, right items
come after wrong ones of the same score, so that scores that are all equal find nothing first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RequestError


def require_scikit_learn() -> None:
    """Raise a RequestError where scikit-learn, which computes nDCG, is not installed."""
    try:
        import sklearn.metrics  # noqa: F401
    except ImportError as error:
        raise RequestError(
            "nDCG needs scikit-learn, which is not installed: pip install 'vqa-ray[evaluate]'"
        ) from error


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


def ndcg(relevant: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], k: int) -> float:
    """Return nDCG of the first k, 0..1, of a list in which something is relevant."""
    from sklearn.metrics import ndcg_score

    if len(relevant) == 1:
        return 1.0
    return float(ndcg_score(relevant[None].astype(float), scores[None], k=k))


def precision_and_recall_at(
    relevant: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], ks: Sequence[int]
) -> dict[int, tuple[float, float]]:
    """Return, by k, the share of relevant items among the first k, and that of the relevant ones found there.

    A list shorter than k has wrong items at its end.

    Args:
        relevant: bool (N,), at least one of them.
        scores: float64 (N,), higher ones come first.
        ks: at least 1 each.
    """
    hits = np.cumsum(relevant[np.lexsort((relevant, -scores))])
    found = {k: int(hits[min(k, len(hits)) - 1]) for k in ks}
    return {k: (count / k, count / int(hits[-1])) for k, count in found.items()}

"""Measures of a ranked list: precision and recall among the first k, average precision, nDCG.

Average precision and nDCG are scikit-learn's: items of equal score count together there. Among the first k, right items
come after wrong ones of the same score, so that scores that are all equal find nothing first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RequestError


def require_scikit_learn(what: str) -> None:
    """Raise a RequestError where scikit-learn, which computes `what`, is not installed."""
    try:
        import sklearn.metrics  # noqa: F401
    except ImportError as error:
        raise RequestError(
            f"{what} need scikit-learn, which is not installed: pip install 'vqa-ray[evaluate]'"
        ) from error


def average_precision(
    relevant: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], weight: npt.NDArray[np.float64] | None = None
) -> float:
    """Return the average precision, 0..1, of a list in which something is relevant; higher scores come first."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(relevant, scores, sample_weight=weight))


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

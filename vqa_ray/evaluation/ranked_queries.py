"""Measures of many ranked lists at once: average precision, nDCG, precision and recall among the first k.

The lists are sorted once; each resample of a bootstrap is then some sums over all rows, where a library takes
milliseconds a list.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


class RankedQueries:
    """Rows of several queries, by query and score.

    Average precision and nDCG are those of scikit-learn's `average_precision_score` and `ndcg_score`: rows of equal
    score count together. Among the first k, right rows come after wrong ones of the same score, so that scores that
    are all equal find nothing first.
    """

    def __init__(self, query: npt.NDArray[np.intp], relevant: npt.NDArray[np.bool_], scores: Numbers) -> None:
        """Sort the rows.

        Args:
            query: intp (N,), 0 … Q-1, each at least once.
            relevant: bool (N,).
            scores: float64 (N,); higher ones come first.
        """
        self._order = np.lexsort((relevant, -scores, query))
        self._query = query[self._order]
        self._relevant = relevant[self._order].astype(np.float64)
        ordered = scores[self._order]
        self._is_first = np.append(True, self._query[1:] != self._query[:-1])
        # The last row of each run of equal scores, and the query of the run.
        self._ends = np.flatnonzero(np.append(self._is_first[1:] | (ordered[1:] != ordered[:-1]), True))
        self._of_run = self._query[self._ends]

    def measures(self, weight: Numbers, ks: Sequence[int], ndcg_k: int) -> dict[str, float]:
        """Return the means over the queries with a relevant row; NaN where there is none.

        Args:
            weight: float64 (N,), whole numbers: how often each row counts.
            ks: at least 1 each; a list shorter than k has wrong rows at its end.
            ndcg_k: how many rows nDCG looks at.
        """
        ordered = weight[self._order]
        rows, right = self._within(ordered), self._within(ordered * self._relevant)
        relevant = self._sums(ordered * self._relevant)
        found = relevant > 0
        names = ["map", f"ndcg@{ndcg_k}", *(f"{kind}@{k}" for k in ks for kind in ("precision", "recall"))]
        if not found.any():
            return dict.fromkeys(names, float("nan"))
        seen, hits = rows[self._ends], right[self._ends]
        sizes, gained = self._steps(seen), self._steps(hits)
        below = np.maximum(relevant, 1.0)
        of = [self._of_runs(gained * hits / np.maximum(seen, 1.0)) / below]
        discount = np.cumsum(np.append(0.0, 1 / np.log2(np.arange(ndcg_k) + 2)))
        first, last = (discount[np.minimum(each, ndcg_k).astype(np.intp)] for each in (seen - sizes, seen))
        ideal = discount[np.minimum(below, ndcg_k).astype(np.intp)]
        of.append(self._of_runs(gained / np.maximum(sizes, 1.0) * (last - first)) / ideal)
        for k in ks:
            among = self._sums(np.clip(k - (rows - ordered), 0, ordered) * self._relevant)
            of += [among / k, among / below]
        return {name: float(each[found].mean()) for name, each in zip(names, of, strict=True)}

    def _within(self, values: Numbers) -> Numbers:
        """Return the running sums of each query."""
        sums = np.cumsum(values)
        before = (sums - values)[self._is_first]
        within: Numbers = sums - before[self._query]
        return within

    def _steps(self, sums: Numbers) -> Numbers:
        """Return what each run adds to the running sum of its query."""
        starts = np.append(True, self._of_run[1:] != self._of_run[:-1])
        return sums - np.where(starts, 0.0, np.append(0.0, sums[:-1]))

    def _sums(self, values: Numbers) -> Numbers:
        return np.bincount(self._query, values).astype(np.float64)

    def _of_runs(self, values: Numbers) -> Numbers:
        return np.bincount(self._of_run, values).astype(np.float64)

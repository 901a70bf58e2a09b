"""Intervals of any measures by resampling clusters of rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.clustered_mean import LEVEL, wilson_interval
from vqa_ray.evaluation.protocol import JudgedRows, Protocol
from vqa_ray.evaluation.student_t import t_quantile

RESAMPLES = 1000
_FEWEST_RESAMPLES = 100
# What all resamples together may take: some seconds for as many rows; a measure takes as long as some rows.
_ROWS_RESAMPLED = 200_000_000
_ROWS_PER_MEASURE = 2_000

Weights = npt.NDArray[np.float64]


def bootstrap_intervals(
    protocol: Protocol, rows: JudgedRows, clusters: npt.NDArray[np.int64], seed: int, level: float = LEVEL
) -> tuple[dict[str, tuple[float, float]], int]:
    """Return the percentile interval of each measure over resamples of the clusters, and how many resamples there were.

    Where all resamples of a ratio are at its limit, the interval is Wilson's, of the clusters that the ratio is about.

    Args:
        protocol: whose measures they are.
        rows: N judged rows.
        clusters: int64 (N,), equal for rows of one cluster.
        seed: of the resamples.
        level: of the intervals.

    Returns:
        Measure → (low, high), NaN where it was not defined in some resamples or there are fewer than two clusters.
    """
    measures = protocol.measures(rows, np.ones(len(rows)))
    found: dict[str, list[float]] = {name: [] for name in measures}
    resamples = resamples_for(len(rows), len(measures))
    for values in resampled_measures(protocol, rows, clusters, resamples, seed):
        for name in found.keys() & values.keys():
            found[name].append(values[name])
    tails = (100 * (1 - level) / 2, 100 * (1 + level) / 2)
    intervals = {
        name: (float(low), float(high))
        for name, values in found.items()
        for low, high in [np.nanpercentile(values, tails) if np.isfinite(values).any() else (np.nan, np.nan)]
    }
    for name, (low, high) in intervals.items():
        within = protocol.support(rows, name) if low == high and low in (0.0, protocol.scale) else None
        if within is not None and within.any():
            intervals[name] = _at_limit(low, protocol.scale, len(np.unique(clusters[within])), level)
    return intervals, resamples


def _at_limit(value: float, scale: float, clusters: int, level: float) -> tuple[float, float]:
    low, high = wilson_interval(value / scale, clusters, t_quantile((1 + level) / 2, max(1, clusters - 1)))
    return scale * low, scale * high


def resamples_for(rows: int, measures: int) -> int:
    """Return how many resamples take some seconds.

    Args:
        rows: number of rows.
        measures: number of measures.
    """
    return int(np.clip(_ROWS_RESAMPLED // (rows + _ROWS_PER_MEASURE * measures), _FEWEST_RESAMPLES, RESAMPLES))


def resampled_measures(
    protocol: Protocol, rows: JudgedRows, clusters: npt.NDArray[np.int64], resamples: int, seed: int
) -> Iterator[dict[str, float]]:
    """Yield the measures of each resample; none of fewer than two clusters.

    With the same clusters and seed, each resample counts a cluster equally often, whatever the rows.

    Args:
        protocol: whose measures they are.
        rows: N judged rows.
        clusters: int64 (N,), equal for rows of one cluster.
        resamples: their number.
        seed: of the resamples.
    """
    sample = _Sample.of(rows, clusters, collapse=not protocol.units)
    for weight in sample.weights(resamples, seed) if sample.clusters > 1 else ():
        yield protocol.measures(sample.rows, weight)


class _Sample:
    """Rows to resample; where rows are judged one by one, equal ones are one row that counts more often."""

    def __init__(self, rows: JudgedRows, place: npt.NDArray[np.intp], cluster: npt.NDArray[np.intp]) -> None:
        # int (N,): the row of `rows` and the cluster of each of N rows.
        self.rows, self._place, self.cluster = rows, place, cluster
        self.clusters = int(cluster.max()) + 1

    @classmethod
    def of(cls, rows: JudgedRows, clusters: npt.NDArray[np.int64], *, collapse: bool) -> _Sample:
        cluster = np.unique(clusters, return_inverse=True)[1].reshape(-1)
        if not collapse:
            return cls(rows, np.arange(len(rows)), cluster)
        kinds = np.zeros(len(rows), np.int64)
        for column in _columns(rows):
            kinds = kinds * (int(column.max()) + 1) + column
            kinds = np.unique(kinds, return_inverse=True)[1].reshape(-1)
        _, first, place = np.unique(kinds, return_index=True, return_inverse=True)
        return cls(rows.take(first), place.reshape(-1), cluster)

    def weights(self, resamples: int, seed: int) -> Iterator[Weights]:
        """Yield how often each row counts in each resample."""
        random = np.random.default_rng(seed)
        for _ in range(resamples):
            drawn = np.bincount(random.integers(0, self.clusters, self.clusters), minlength=self.clusters)
            yield np.bincount(self._place, drawn[self.cluster], len(self.rows)).astype(np.float64)


def _columns(rows: JudgedRows) -> Iterator[npt.NDArray[np.int64]]:
    """Yield a number for the value in each row, column by column."""
    texts = (rows.outcome, rows.read_as, rows.truth, *rows.groups.values())
    for text in texts:
        seen: dict[object, int] = {}
        yield np.fromiter((seen.setdefault(value, len(seen)) for value in text), np.int64, len(rows))
    for numbers in (rows.score, *rows.extra.values()):
        yield np.unique(numbers, return_inverse=True)[1].reshape(-1).astype(np.int64)

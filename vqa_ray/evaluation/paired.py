"""The difference of two predictions on the same rows, with its interval: analytic for means, else by resampling."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.bootstrap import resampled_measures, resamples_for
from vqa_ray.evaluation.clustered_mean import LEVEL
from vqa_ray.evaluation.protocol import JudgedRows, Protocol

_TAIL = (1 - LEVEL) / 2


@dataclass(frozen=True, slots=True)
class PairedInterval:
    """The interval of a difference, and the p-value of none; NaN where they cannot be told."""

    low: float
    high: float
    p_value: float


def paired_mean_interval(differences: npt.NDArray[np.float64], clusters: npt.NDArray[np.int64]) -> PairedInterval:
    """Return the interval of a mean difference by Student's t on the cluster-robust variance (Liang and Zeger 1986).

    It is cut off at -1 and 1, which no difference exceeds.

    Where all clusters differ equally, or not at all, the interval is that of a share of other clusters of which none
    was seen, and the p-value that of equal signs.

    Args:
        differences: float64 (N,), -1..1, of the scores of each row.
        clusters: int64 (N,), equal for rows of one cluster.
    """
    from scipy.stats import t

    mean = float(differences.mean())
    totals = np.bincount(np.unique(clusters, return_inverse=True)[1].reshape(-1), differences - mean)
    count = len(totals)
    if count < 2:
        return PairedInterval(nan, nan, nan)
    error = sqrt(float(totals @ totals) * count / (count - 1)) / len(differences)
    if error < 1e-12:
        reach = 1 - _TAIL ** (1 / count)
        p_value = 0.5 ** (count - 1) if mean else 1.0
    else:
        reach = float(t.isf(_TAIL, count - 1)) * error
        p_value = float(2 * t.sf(abs(mean) / error, count - 1))
    return PairedInterval(max(-1.0, mean - reach), min(1.0, mean + reach), p_value)


def paired_bootstrap(
    protocol: Protocol,
    first: JudgedRows,
    second: JudgedRows,
    clusters: npt.NDArray[np.int64],
    seed: int,
) -> tuple[dict[str, PairedInterval], int]:
    """Return the percentile interval of the difference of each measure over resamples of the clusters.

    Both sides count each cluster equally often in each resample.

    Args:
        protocol: whose measures they are.
        first: N judged rows.
        second: the same rows, judged with other predictions.
        clusters: int64 (N,), equal for rows of one cluster.
        seed: of the resamples.

    Returns:
        Measure → interval, and the number of resamples.
    """
    found: dict[str, list[float]] = {}
    resamples = resamples_for(len(first), len(protocol.measures(first, np.ones(len(first)))))
    both = (resampled_measures(protocol, rows, clusters, resamples, seed) for rows in (first, second))
    for before, after in zip(*both, strict=True):
        for name in before.keys() & after.keys():
            found.setdefault(name, []).append(after[name] - before[name])
    return {name: _percentiles(np.array(values)) for name, values in found.items()}, resamples


def _percentiles(values: npt.NDArray[np.float64]) -> PairedInterval:
    known = values[np.isfinite(values)]
    if not len(known):
        return PairedInterval(nan, nan, nan)
    low, high = np.percentile(known, (100 * _TAIL, 100 * (1 - _TAIL)))
    beyond = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return PairedInterval(float(low), float(high), min(1.0, 2 * (1 + beyond) / (1 + len(known))))

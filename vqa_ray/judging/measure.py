"""The measures of judged rows with their intervals, over all rows and by groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vqa_ray.evaluation.bootstrap import RESAMPLES, bootstrap_intervals
from vqa_ray.evaluation.clustered_mean import LEVEL, clustered_mean
from vqa_ray.evaluation.protocol import Protocol
from vqa_ray.judging.measured_rows import MeasuredRows
from vqa_ray.judging.record import Group, Measure, number

SEED = 0
# More groups than this are no breakdown.
MOST_GROUPS = 200
UNNAMED = "(none)"


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures of an evaluation.

    Attributes:
        measures: of all rows, the headline first; then of each group.
        interval: how the intervals were made; see `EvaluationRecord.interval`.
        notes: what a reader has to know.
    """

    measures: Sequence[Measure]
    interval: Mapping[str, object]
    notes: Sequence[str]


def measure(protocol: Protocol, measured: MeasuredRows, seed: int = SEED) -> Measures:
    """Compute all measures.

    Args:
        protocol: whose measures they are.
        measured: at least one row.
        seed: of the resamples.
    """
    found, methods, resamples = _of_rows(protocol, measured, seed, None)
    mean = clustered_mean(measured.rows.score, measured.clusters)
    notes = list(protocol.notes(measured.rows))
    if mean.clusters < 2:
        notes.append("all rows are of one image, so there are no intervals")
    if measured.alone:
        rows = f"{measured.alone:,} rows have" if measured.alone > 1 else "1 row has"
        notes.append(f"{rows} no image_id; the intervals take each for an image of its own")
    groups: list[Measure] = []
    for column, values in measured.columns.items():
        counted = Counter(UNNAMED if value is None else value for value in values)
        if len(counted) > MOST_GROUPS:
            notes.append(f"{column} has {len(counted):,} values; shown are the {MOST_GROUPS} with most rows")
        names = np.array([UNNAMED if value is None else value for value in values], object)
        # A measure of a single group, such as that of a task, says nothing new of the group.
        plain = [each.name for each in found if each.name not in counted and "[" not in each.name]
        for name in sorted(name for name, _ in counted.most_common(MOST_GROUPS)):
            part = measured.take(np.flatnonzero(names == name))
            of_group = _of_rows(protocol, part, seed, Group(column, name))[0]
            groups += [each for each in of_group if each.name in plain]
    interval = {
        "level": LEVEL,
        "clusters": "image_id",
        "method": methods,
        "resamples": resamples if "bootstrap" in methods.values() else 0,
        "seed": seed,
        "variance": mean.variance,
        "design_effect": mean.design_effect,
    }
    return Measures([*found, *groups], interval, notes)


def _of_rows(
    protocol: Protocol, measured: MeasuredRows, seed: int, group: Group | None
) -> tuple[list[Measure], dict[str, str], int]:
    rows, clusters = measured.rows, measured.clusters
    parts = protocol.parts(rows)
    values = {
        name: value
        for name, value in protocol.measures(rows, np.ones(len(rows))).items()
        if group is None or (np.isfinite(value) and name not in parts)
    }
    mean = clustered_mean(rows.score, clusters)
    methods = {name: "analytic" if name in protocol.means else "bootstrap" for name in values}
    intervals: dict[str, tuple[float, float]] = {}
    resamples = RESAMPLES
    if "bootstrap" in methods.values():
        intervals, resamples = bootstrap_intervals(protocol, rows, clusters, seed)
    whole = len(rows), mean.clusters
    measures = []
    for name in _headline_first(values, protocol.headline):
        low, high = intervals.get(name, (float("nan"), float("nan")))
        if methods[name] == "analytic":
            low, high = protocol.scale * mean.low, protocol.scale * mean.high
        ends = number(values[name]), number(low), number(high)
        n, images = (int(parts[name].sum()), len(np.unique(clusters[parts[name]]))) if name in parts else whole
        measures.append(Measure(name, *ends, n, images, group))
    return measures, methods, resamples


def _headline_first(names: Iterable[str], headline: str) -> list[str]:
    return sorted(names, key=lambda name: name != headline)

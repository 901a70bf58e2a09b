"""The same rows judged with two predictions: differences of measures, McNemar's test, wins by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vqa_ray.comparison.record import Difference, Group, McNemar, Wins
from vqa_ray.evaluation.paired import PairedInterval, paired_bootstrap, paired_mean_interval
from vqa_ray.evaluation.protocol import Protocol
from vqa_ray.evaluation.significance import mcnemar
from vqa_ray.judging.measure import MOST_GROUPS, UNNAMED
from vqa_ray.judging.measured_rows import MeasuredRows
from vqa_ray.judging.record import number

_UNKNOWN = PairedInterval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class PairedRows:
    """Rows that both inputs have, in the same order.

    Attributes:
        protocol: of both.
        first, second: the rows of each.
    """

    protocol: Protocol
    first: MeasuredRows
    second: MeasuredRows

    @cached_property
    def clusters(self) -> int:
        """The number of images."""
        return len(np.unique(self.first.clusters))

    @property
    def are_independent(self) -> bool:
        """Whether each row is of an image of its own."""
        return self.clusters == len(self.first.rows)

    def differences(self, seed: int) -> list[Difference]:
        """Return the differences of all measures, the headline first, then that of the mean score in each group.

        Args:
            seed: of the bootstrap.
        """
        weight = np.ones(len(self.first.rows))
        before, after = (self.protocol.measures(side.rows, weight) for side in (self.first, self.second))
        names = sorted((name for name in before if name in after), key=lambda name: name != self.protocol.headline)
        intervals: dict[str, PairedInterval] = {}
        if not self.protocol.means.issuperset(names):
            sides = self.first.rows, self.second.rows
            intervals = paired_bootstrap(self.protocol, *sides, self.first.clusters, seed)[0]
        found = []
        for name in names:
            if name in self.protocol.means:
                found.append(self.mean_difference(name))
                continue
            ends, interval = (before[name], after[name]), intervals.get(name, _UNKNOWN)
            found.append(self._difference(name, ends, interval))
        return found + [self._take(places).mean_difference(group=group) for group, places in self._groups()]

    def mean_difference(self, name: str | None = None, group: Group | None = None) -> Difference:
        """Return the difference of the mean score.

        Args:
            name: of the measure that it is; None for the headline, or else the first of the means.
            group: that the rows are.
        """
        means = self.protocol.means
        default = self.protocol.headline if self.protocol.headline in means else min(means, default="score")
        scale, scores = self.protocol.scale, (self.first.rows.score, self.second.rows.score)
        found = paired_mean_interval(scores[1] - scores[0], self.first.clusters)
        interval = PairedInterval(scale * found.low, scale * found.high, found.p_value)
        ends = scale * float(scores[0].mean()), scale * float(scores[1].mean())
        return replace(self._difference(name or default, ends, interval), method="analytic", group=group)

    def mcnemar(self) -> McNemar | None:
        """Test scores that are 0 or 1; None where one is between."""
        one, other = self.first.rows.score, self.second.rows.score
        if not all(np.isin(scores, (0.0, 1.0)).all() for scores in (one, other)):
            return None
        only = int((one > other).sum()), int((one < other).sum())
        return McNemar(*only, mcnemar(*only))

    def wins(self) -> list[Wins]:
        """Count the rows that each input has better, of all rows and by group."""
        better = np.sign(self.first.rows.score - self.second.rows.score)
        parts = [(None, better), *((group, better[places]) for group, places in self._groups())]
        return [Wins(group, *(int((part == sign).sum()) for sign in (1, -1, 0))) for group, part in parts]

    def _difference(self, name: str, ends: tuple[float, float], interval: PairedInterval) -> Difference:
        return Difference(
            name=name,
            first=number(ends[0]),
            second=number(ends[1]),
            difference=number(ends[1] - ends[0]),
            low=number(interval.low),
            high=number(interval.high),
            p_value=number(interval.p_value),
            n=len(self.first.rows),
            clusters=self.clusters,
            method="bootstrap",
        )

    def _take(self, places: npt.NDArray[np.intp]) -> PairedRows:
        return PairedRows(self.protocol, self.first.take(places), self.second.take(places))

    def _groups(self) -> Iterator[tuple[Group, npt.NDArray[np.intp]]]:
        for column, texts in self.first.columns.items():
            names = np.array([UNNAMED if value is None else value for value in texts], object)
            for value in sorted(value for value, _ in Counter(names).most_common(MOST_GROUPS)):
                yield Group(column, value), np.flatnonzero(names == value)

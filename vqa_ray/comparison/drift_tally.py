"""The counts of values, scores and errors of two runs by attribute or question, and their drift."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.comparison.pairing import PairedTables
from vqa_ray.comparison.record import ALL_QUESTIONS, Drift, ScoreDrift, Share
from vqa_ray.evaluation.bootstrap import RESAMPLES
from vqa_ray.evaluation.drift import (
    Counts,
    Pairs,
    jensen_shannon,
    jensen_shannon_noise,
    kolmogorov_smirnov,
    kolmogorov_smirnov_noise,
    noise_limit,
)

# Between the labels of a row in its value; a person is shown "; ".
PARTS = "\x1f"
NO_ERROR = "ok"
_NONE = "(none)"
_REST = "…"
_ERRORS = "error_code"
# Values of which each counts by itself; the rest are one.
_MOST_VALUES = 200
_MOST_COUNTED = 20_000
_MOST_SHARES = 50
_HISTOGRAM = np.linspace(0, 1, 21)
# Fine near 0 and 1, where scores crowd: in log-odds, up to where float32 ends.
_FINE = 1 / (1 + np.exp(-np.linspace(-17, 17, 4097)))

Kind: TypeAlias = Literal["attribute", "question", "match", "caption", "error_code"]
Pair: TypeAlias = tuple[str | None, str | None]
Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Counted:
    """The rows of an attribute, of a question, or of all.

    Attributes:
        pairs: value in the first run, value in the second → rows; see `vqa_ray.evaluation.drift.Pairs`.
        scores, fine: int64 (2, B), scores of each run by bins of `_HISTOGRAM` and `_FINE`.
        flipped: rows of both runs with another value.
        sides: whether either run has rows, in error or not.
    """

    pairs: Counter[Pair] = field(default_factory=Counter)
    scores: Ints = field(default_factory=lambda: np.zeros((2, len(_HISTOGRAM) - 1), np.int64))
    fine: Ints = field(default_factory=lambda: np.zeros((2, len(_FINE) + 1), np.int64))
    flipped: int = 0
    sides: list[bool] = field(default_factory=lambda: [False, False])
    _known: set[str] = field(default_factory=set)

    def count(self, pair: Pair, rows: int) -> None:
        if None not in pair and pair[0] != pair[1]:
            self.flipped += rows
        self.pairs[self._bounded(pair[0]), self._bounded(pair[1])] += rows

    def _bounded(self, value: str | None) -> str | None:
        """Keep the number of values within bounds; what comes late is one value."""
        if value is None or value in self._known:
            return value
        if len(self._known) >= _MOST_COUNTED:
            return _REST
        self._known.add(value)
        return value

    def include(self, other: _Counted) -> None:
        """Add the counts of others."""
        self.pairs.update(other.pairs)
        self.flipped += other.flipped
        self.scores = self.scores + other.scores
        self.fine = self.fine + other.fine

    def add_scores(self, side: int, scores: npt.NDArray[np.float32]) -> None:
        self.scores[side] += np.histogram(scores.clip(0, 1), _HISTOGRAM)[0]
        self.fine[side] += np.bincount(np.searchsorted(_FINE, scores), minlength=len(_FINE) + 1)


class DriftTally:
    """Counts of two runs, added up over partitions.

    Args:
        name: counts all rows under one name, in place of that of each row.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._counted: defaultdict[str, _Counted] = defaultdict(_Counted)
        self._errors = _Counted()

    def add(self, paired: PairedTables) -> None:
        """Count the rows of a partition."""
        self._count(paired.first, paired.second)
        self._count(paired.only_first, None)
        self._count(None, paired.only_second)
        for side, tables in enumerate(((paired.first, paired.only_first), (paired.second, paired.only_second))):
            for table in tables:
                self._add_scores(side, table)

    def _count(self, first: pa.Table | None, second: pa.Table | None) -> None:
        rows = first if first is not None else second
        assert rows is not None
        nothing = pa.nulls(rows.num_rows, pa.string())
        columns = {"name": rows["name"], "leads": rows["leads"]}
        for side, table in (("first", first), ("second", second)):
            codes = nothing if table is None else pc.fill_null(table["error_code"], NO_ERROR)
            columns |= {side: nothing if table is None else table["value"], f"{side}_error": codes}
        table = pa.table(columns)
        for row in table.group_by(["name", "first", "second"]).aggregate([([], "count_all")]).to_pylist():
            if row["name"] is not None:
                counted = self._counted[self._name or row["name"]]
                counted.sides = [counted.sides[0] or first is not None, counted.sides[1] or second is not None]
                if (row["first"], row["second"]) != (None, None):
                    counted.count((row["first"], row["second"]), row["count_all"])
        errors = table.filter(table["leads"]).group_by(["first_error", "second_error"])
        for row in errors.aggregate([([], "count_all")]).to_pylist():
            self._errors.count((row["first_error"], row["second_error"]), row["count_all"])

    def _add_scores(self, side: int, table: pa.Table) -> None:
        known = table.select(["name", "confidence"]).drop_null()
        scores = known["confidence"].to_numpy()
        names = np.array([self._name] * len(scores) if self._name else known["name"].to_pylist(), object)
        for name in set(names):
            self._counted[name].add_scores(side, scores[names == name])

    def lonely(self) -> tuple[list[str], list[str]]:
        """Return the names that only the first run has, and those that only the second has."""
        found = self._counted.items()
        return [name for name, each in found if not each.sides[1]], [name for name, each in found if not each.sides[0]]

    def drift(self, kind: Kind, seed: int) -> list[Drift]:
        """Return the drift of each name that both runs have, and of the errors.

        The drift of all questions together comes first, then what is beyond chance, the greatest first.

        Args:
            kind: of the names.
            seed: of the simulated noise.
        """
        names = [name for name in sorted(self._counted) if all(self._counted[name].sides)]
        counted = {name: self._counted[name] for name in names}
        if kind == "question" and len(names) > 1:
            counted[ALL_QUESTIONS] = total = _Counted()
            for name in names:
                total.include(self._counted[name])
        found = [
            _drift(name, kind, each, np.random.default_rng((seed, number)))
            for number, (name, each) in enumerate(counted.items())
        ]
        found.append(_drift(_ERRORS, "error_code", self._errors, np.random.default_rng(seed)))
        return sorted(found, key=lambda each: (each.name != ALL_QUESTIONS, not each.is_beyond_chance, -each.value))


def _drift(name: str, kind: Kind, counted: _Counted, rng: np.random.Generator) -> Drift:
    parts = [counted.pairs] if kind == "caption" else _by_choice(counted.pairs)
    counts = Counts.of(counted.pairs)
    scores = _score_drift(counted)
    if kind == "caption":
        value, noise, shares = (scores.value, scores.noise, []) if scores else (0.0, 0.0, [])
    else:
        each = [Counts.of(part) for part in parts]
        value = max(float(jensen_shannon(part.first, part.second)) for part in each)
        noise = noise_limit(np.max([jensen_shannon_noise(part, RESAMPLES, rng) for part in parts], axis=0))
        shares = _shares(counts, counted.pairs)
    return Drift(
        name=name,
        kind=kind,
        value=value,
        noise=noise,
        first_rows=int(counts.first.sum()),
        second_rows=int(counts.second.sum()),
        both=counts.both,
        flipped=counted.flipped,
        shares=shares,
        scores=scores,
    )


def _by_choice(pairs: Pairs) -> list[Pairs]:
    """Part rows with several labels: for each choice whether it is given; other rows stay as they are."""
    labels = {value: value.split(PARTS) for pair in pairs for value in pair if value is not None}
    if all(len(each) < 2 for each in labels.values()):
        return [_frequent(pairs)]
    choices = sorted({label for each in labels.values() for label in each if label})[:_MOST_VALUES]
    parted: list[Pairs] = []
    for choice in choices:
        part: Counter[Pair] = Counter()
        for (first, second), rows in pairs.items():
            part[_given(choice, first, labels), _given(choice, second, labels)] += rows
        parted.append(part)
    return parted


def _given(choice: str, value: str | None, labels: Mapping[str, Sequence[str]]) -> str | None:
    return None if value is None else str(choice in labels[value])


def _frequent(pairs: Pairs) -> Pairs:
    """Sum up all but the most frequent values as one."""
    kept = set(Counts.of(pairs).values[:_MOST_VALUES])
    found: Counter[Pair] = Counter()
    for (first, second), rows in pairs.items():
        found[_kept(first, kept), _kept(second, kept)] += rows
    return found


def _kept(value: str | None, kept: set[str]) -> str | None:
    return value if value is None or value in kept else _REST


def _shares(counts: Counts, pairs: Pairs) -> list[Share]:
    """Return the share of rows with each value, or with each label where rows have several."""
    totals = [max(1, int(side.sum())) for side in (counts.first, counts.second)]
    sums: defaultdict[str, Ints] = defaultdict(lambda: np.zeros(2, np.int64))
    for value, *rows in zip(counts.values, counts.first, counts.second, strict=True):
        for label in value.split(PARTS):
            sums[label or _NONE] += rows
    ordered = sorted(sums.items(), key=lambda item: -int(item[1].sum()))
    rest = np.sum([rows for _, rows in ordered[_MOST_SHARES:]], axis=0)
    shown = ordered[:_MOST_SHARES] + ([(_REST, rest)] if len(ordered) > _MOST_SHARES else [])
    return [Share(label, *(float(rows[side] / totals[side]) for side in (0, 1))) for label, rows in shown]


def _score_drift(counted: _Counted) -> ScoreDrift | None:
    first, second = (int(side.sum()) for side in counted.fine)
    if not first or not second:
        return None
    return ScoreDrift(
        value=kolmogorov_smirnov(*counted.fine),
        noise=kolmogorov_smirnov_noise(first, second),
        edges=_HISTOGRAM.tolist(),
        first=counted.scores[0].tolist(),
        second=counted.scores[1].tolist(),
    )

"""The protocol of a benchmark: how one prediction is judged, and what is measured over all of them.

A protocol is pure: it reads no files and knows no runs. `judge` sees one prediction with its truth; `measures` sees all
judged rows as columns, with a weight for each, so that the same function gives the figure and its bootstrap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
# Role of a value of truth → names of columns that hold it.
Roles: TypeAlias = Mapping[str, tuple[str, ...]]


class Outcome(StrEnum):
    """How a row came to its score."""

    JUDGED = "judged"
    # The prediction could not be read as an answer of the wanted kind; it counts as wrong.
    UNPARSED = "unparsed"
    # The row of the run is in error; it counts as wrong.
    FAILED = "failed"
    # There is truth, and no row of the run; it counts as wrong.
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One prediction, judged.

    Attributes:
        score: the credit of the prediction, 0..1.
        read_as: what the prediction was read as: a letter, yes or no, a number, a normalised answer; None where it
            cannot be read, which makes the row `unparsed`.
        truth: the answer that would have been right, or the most frequent of several; for confusion counts and pages.
        extra: further numbers of the row that `measures` needs, by name; the same names for every row.
    """

    score: float
    read_as: str | None
    truth: str | None = None
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgedRows:
    """Judged rows as columns.

    Attributes:
        score: float64 (N,), 0..1; 0 for rows that are not `judged`.
        outcome: str (N,), see `Outcome`.
        read_as, truth: object (N,), str or None; of rows without a prediction, those of `judge_absent`.
        groups: the columns that the protocol names in `groups`: object (N,), str or None.
        extra: the numbers of `Judgement.extra`: float64 (N,); of rows without a prediction, those of `judge_absent`,
            and 0 where it gives none.
    """

    score: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.str_]
    read_as: npt.NDArray[np.object_]
    truth: npt.NDArray[np.object_]
    groups: Mapping[str, npt.NDArray[np.object_]]
    extra: Mapping[str, npt.NDArray[np.float64]]
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` computes of these rows; computed once, however many resamples read it.

        Args:
            key: of the result.
            make: computes it.
        """
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def codes(self, *roles: str) -> tuple[list[tuple[str, ...]], npt.NDArray[np.intp]]:
        """Return a number for each combination of group values.

        Returns:
            The combinations in the order in which they first occur, None as "", and intp (N,), the number of each
            row's, so that `np.bincount(codes, weight * score)` sums by group.
        """
        return self.kept(("codes", *roles), lambda: self._number(roles))

    def _number(self, roles: Sequence[str]) -> tuple[list[tuple[str, ...]], npt.NDArray[np.intp]]:
        seen: dict[tuple[str, ...], int] = {}
        columns = [[str(value) if value is not None else "" for value in self.groups[role]] for role in roles]
        numbers = [seen.setdefault(values, len(seen)) for values in zip(*columns, strict=True)]
        return list(seen), np.array(numbers, np.intp)

    def take(self, rows: npt.NDArray[np.intp]) -> JudgedRows:
        """Return the rows of these numbers, in this order."""
        columns = (self.score, self.outcome, self.read_as, self.truth)
        named = ({name: column[rows] for name, column in each.items()} for each in (self.groups, self.extra))
        return JudgedRows(*(column[rows] for column in columns), *named)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.score)


class Protocol(ABC):
    """How the answers of one benchmark, or of one kind, are judged.

    Attributes:
        name: as `--protocol` takes it and results state it, e.g. `vqa-v2`.
        title: for people, e.g. `VQA accuracy (VQAv2)`.
        source: the paper and the official script with its revision, whose numbers these are.
        prediction: the kind of prediction: `text` (an answer or a caption), `labels` (the tags of one attribute) or
            `match` (whether an image fits a query).
        truth: the columns of truth that `judge` needs: role → column names that are taken, the first is ours.
        optional: likewise, of columns that it takes where they are there.
        groups: roles among those that `measures` groups by; the evaluation also breaks the score down by each.
        units: roles among `groups` whose rows are judged together, e.g. the image of a pair of questions; too many to
            break the score down by; and those that `parts` breaks it down by.
        headline: the name of the measure that stands first.
        means: the measures that are the plain mean of `score`, whose intervals are analytic.
        scale: what 1.0 of the headline is in the official script's unit: 1, or 100 for percent.
        in_order: whether judgements depend on those before, so that all rows are judged in the order of the truth.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    prediction: ClassVar[str] = "text"
    truth: ClassVar[Roles] = {}
    optional: ClassVar[Roles] = {}
    groups: ClassVar[tuple[str, ...]] = ()
    units: ClassVar[tuple[str, ...]] = ()
    headline: ClassVar[str] = "accuracy"
    means: ClassVar[frozenset[str]] = frozenset({"accuracy"})
    scale: ClassVar[float] = 1.0
    in_order: ClassVar[bool] = False

    def fit(self, truths: Iterable[Mapping[str, Any]]) -> None:  # noqa: B027, most protocols need nothing of it
        """Take in what the protocol has to know of all truths before it judges, e.g. document frequencies.

        Args:
            truths: of every row, by role; those that cannot be used are passed over, `judge` counts them.
        """

    @abstractmethod
    def judge(self, prediction: Any, truth: Mapping[str, Any]) -> Judgement:
        """Judge one prediction.

        Args:
            prediction: never None. A str for `text`; a sequence of str for `labels`, a bool for `match`. With
                `labels` and `match`, `truth["scores"]` holds the scores of the prediction: label → score, or a float.
            truth: the values of `truth` and `optional` by role; absent optional ones are None.

        Raises:
            ValueError: the truth itself cannot be used, in one line that says why; the row is counted as such.
        """

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        """Judge a row that is in error or missing: score 0, with the truth and the numbers that `measures` needs of it.

        E.g. recall counts a true yes without a prediction as missed.

        Args:
            truth: as `judge` takes it, without scores.

        Raises:
            ValueError: the truth itself cannot be used.
        """
        return Judgement(0.0, None)

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        """Compute the measures of all rows; the mean score where a protocol has nothing else.

        Args:
            rows: at least one.
            weight: float64 (N,), how often each row counts; ones but in a bootstrap, where rows of an image share it.

        Returns:
            Measure → value, in the official script's unit; NaN where nothing is below the line.
        """
        score = weight * rows.score
        found = {"accuracy": self._mean(score, weight)}
        for name, within in rows.kept("parts", lambda: self.parts(rows)).items():
            found[name] = self._mean(score[within], weight[within])
        return found

    def _mean(self, score: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> float:
        total = float(weight.sum())
        return self.scale * float(score.sum() / total) if total else float("nan")

    def parts(self, rows: JudgedRows) -> Mapping[str, npt.NDArray[np.bool_]]:
        """Name the measures that are of some of the rows, e.g. a discipline: measure → bool (N,), which rows.

        They break the score down as the official script does; the evaluation states how many rows each is of.

        Args:
            rows: at least one.
        """
        return {}

    def support(self, rows: JudgedRows, measure: str) -> npt.NDArray[np.bool_] | None:
        """Return the rows that a ratio of 0 to `scale` is about, bool (N,); None where a measure is no such ratio.

        Where all resamples of a ratio are 0, or `scale`, its interval follows from the number of these rows.

        Args:
            rows: at least one.
            measure: the name of a measure.
        """
        return None

    def notes(self, rows: JudgedRows) -> list[str]:
        """State what a reader of the measures has to know of these rows, a sentence each; counted, not left out.

        Args:
            rows: at least one.
        """
        return []

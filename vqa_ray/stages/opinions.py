"""Two models' opinions on a row: when the second model is asked, which of the two decides, and the columns that say so.

An outcome is what a model stage writes about a row or about one question of it: its cells by column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import pyarrow as pa

from vqa_ray.errors import ErrorCode, RequestError
from vqa_ray.evaluation.calibration import ProbabilityMap
from vqa_ray.schema import STATUS_ERROR
from vqa_ray.text import canonical

Outcome: TypeAlias = Mapping[str, Any]

FIRST, SECOND = "first", "second"
# Counts and costs of a row, which are those of both models together.
_SUMMED = ("prompt_tokens", "completion_tokens", "cost")
_CONDITION = re.compile(r"\s*score\s*(<=|<)\s*(\d+(?:\.\d*)?|\.\d+)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """When a second model is asked.

    Attributes:
        below: the first model's score below which it is asked; None asks about every row.
        or_equal: whether it is asked at `below` itself.
    """

    below: float | None = None
    or_equal: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `score < 0.6` or `score <= 0.6`.

        Raises:
            RequestError: the text is no such condition.
        """
        found = _CONDITION.fullmatch(text)
        if found is None or not 0 <= float(found[2]) <= 1:
            raise RequestError(f"--cascade {text!r}: expected a condition such as 'score < 0.6', a number from 0 to 1")
        return cls(float(found[2]), found[1] == "<=")

    def holds(self, score: float | None) -> bool:
        """Tell whether a score is so low; an unknown score is."""
        if self.below is None or score is None:
            return True
        return score < self.below or (self.or_equal and score == self.below)


@dataclass(frozen=True, slots=True)
class ColumnScore:
    """The score of an outcome as a column holds it."""

    column: str

    def __call__(self, outcome: Outcome) -> float | None:
        score: float | None = outcome[self.column]
        return score


@dataclass(frozen=True, slots=True)
class LeastTagScore:
    """The score of an image's tags: that of the least certain attribute.

    An attribute of one choice has the score of its best choice. Where several may hold, each choice has the score of
    the likelier of its two outcomes, given or not given, and the attribute the least of them.

    Attributes:
        several: the attributes of which several choices may hold.
        calibrated: `attribute`, or `attribute:choice` where several may hold → map of scores to probabilities.
    """

    several: frozenset[str]
    calibrated: Mapping[str, ProbabilityMap] = field(default_factory=dict)

    def __call__(self, outcome: Outcome) -> float | None:
        best: dict[str, float] = {}
        least: list[float] = []
        for each in outcome["tag_scores"] or ():
            attribute, score = each["attribute"], each["score"]
            if score is None:
                continue
            if attribute in self.several:
                probability = self._probability(f"{attribute}:{each['choice']}", score)
                least.append(max(probability, 1 - probability))
            else:
                best[attribute] = max(best.get(attribute, 0.0), score)
        least += [self._probability(attribute, score) for attribute, score in best.items()]
        return min(least, default=None)

    def _probability(self, tag: str, score: float) -> float:
        to_probability = self.calibrated.get(tag)
        return score if to_probability is None else to_probability(score)


@dataclass(frozen=True, slots=True)
class Opinions:
    """How the outcomes of two models become one.

    Attributes:
        value: the column that the models are compared by: `answer`, `caption`, `tags`.
        score: of an outcome; small enough to travel to workers.
        condition: when the second model is asked.
        second_decides: whether the second model's outcome stands where it is asked; otherwise the first one's does.
    """

    value: str
    score: Callable[[Outcome], float | None]
    condition: Condition
    second_decides: bool

    def wants_second(self, first: Outcome) -> bool:
        """Tell whether the second model is asked, by the outcome of the first for a row that it could be asked about.

        In a cascade the second model also decides the rows on which the first fails.
        """
        if first["status"] == STATUS_ERROR:
            return self.second_decides and first["error_code"] != ErrorCode.QUESTION_MISSING
        return self.condition.holds(self.score(first))

    def joined(self, first: Outcome, second: Outcome | None) -> dict[str, Any]:
        """Join two outcomes: the cells of the one that decides, and the columns of `with_opinions`.

        A row on which the second model was asked and fails is a row in error.

        Args:
            first: of the first model, or the error of a row that no model was asked about.
            second: of the second model; None where it was not asked.
        """
        cells = self._cells(FIRST, first) | self._cells(SECOND, second) | {"agrees": None}
        if second is None:
            return {**first, **cells, "decided_by": None if first["status"] == STATUS_ERROR else FIRST}
        failed = [each["status"] == STATUS_ERROR for each in (first, second)]
        if not any(failed):
            cells["agrees"] = _same(first[self.value], second[self.value])
        decides = SECOND if self.second_decides or failed[1] else FIRST
        outcome = second if decides == SECOND else first
        both: dict[str, Any] = {
            name: sum(counts)
            for name in _SUMMED
            if (counts := [each[name] for each in (first, second) if each.get(name) is not None])
        }
        if failed[0]:
            reason = f"the first model failed: {first['error_code']}: {first['error_message']}"
            both["warning"] = "; ".join(filter(None, (reason, outcome["warning"])))
        return {**outcome, **both, **cells, "decided_by": decides}

    def _cells(self, which: str, outcome: Outcome | None) -> dict[str, Any]:
        is_there = outcome is not None and outcome["status"] != STATUS_ERROR
        return {
            f"{which}_{self.value}": outcome[self.value] if outcome is not None and is_there else None,
            f"{which}_score": self.score(outcome) if outcome is not None and is_there else None,
        }


def with_opinions(fields: Sequence[pa.Field], value: str) -> list[pa.Field]:
    """Return the columns of an output with those of two opinions in front of `status`.

    Args:
        fields: of rows, or of the outcome of one question.
        value: see `Opinions`.
    """
    names = [field.name for field in fields]
    kind = fields[names.index(value)].type
    added = [
        pa.field("decided_by", pa.string()),
        pa.field("agrees", pa.bool_()),
        *(
            pa.field(name, of)
            for which in (FIRST, SECOND)
            for name, of in ((f"{which}_{value}", kind), (f"{which}_score", pa.float32()))
        ),
    ]
    at = names.index("status")
    return [*fields[:at], *added, *fields[at:]]


def _same(first: str | Sequence[str], second: str | Sequence[str]) -> bool:
    """Tell whether two answers are equal as the evaluation compares them, or two lists of tags hold the same ones."""
    if isinstance(first, str) and isinstance(second, str):
        return canonical(first) == canonical(second)
    return set(first) == set(second)

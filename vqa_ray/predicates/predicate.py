"""Predicates over images: questions joined by and, or and not, and how well an image fits.

    "is there a dog?" and not ("is it a toy?" or "is it indoors?")
    "is there a dog?" >= 0.7 and "what colour is it?" = "red"

Each question has a score in 0..1: alone P(yes) over {yes, no}; with `= "red"` the score of that answer; compared with a
number (`>= > <= <`) 1 where that holds and 0 where it does not. Scores are joined by an algebra:

- `min-max` (fuzzy logic, Zadeh 1965): and = min, or = max, not = 1 - p;
- `product` (as of independent events): and = p · q, or = p + q - p · q, not = 1 - p.

Where only some scores are known, `Predicate.open_questions` names those that still matter: whether an image reaches the
threshold, and then its exact score, are the same as if every question were asked. `vqa_ray.predicates.parser` reads
the language.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

Algebra: TypeAlias = Literal["min-max", "product"]
ALGEBRAS: tuple[Algebra, ...] = get_args(Algebra)
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question for each image, asked once however often it occurs in the expression.

    Attributes:
        text: the question.
        answer: the answer whose score counts; None for P(yes).
    """

    text: str
    answer: str | None = None


class Range(NamedTuple):
    """The least and the most that a score can be."""

    low: float
    high: float


class RelevantInterval(NamedTuple):
    """The values of a part that make a difference to the whole: all up to `low` are alike, and all from `high` on."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Term:
    """A question in an expression.

    Attributes:
        question: its number.
        comparison: how its score is compared, and with what; None where it counts as it is.
        to_probability: what makes a probability of its score first, where a calibration does.
    """

    question: int
    comparison: tuple[str, float] | None = None
    to_probability: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of an expression."""

    part: Node


@dataclass(frozen=True, slots=True)
class AllOf:
    """Parts joined by `and`."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Parts joined by `or`."""

    parts: tuple[Node, ...]


Node: TypeAlias = Term | Not | AllOf | AnyOf
Scores: TypeAlias = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Predicate:
    """An expression, and what it takes to match.

    Attributes:
        questions: each once, in the order of the expression.
        root: of the expression.
        threshold: the least score of a match.
        algebra: how scores are joined.
    """

    questions: tuple[Question, ...]
    root: Node
    threshold: float = 0.5
    algebra: Algebra = "min-max"

    def score(self, scores: Scores) -> float | None:
        """Return the score of an image; None where the scores, by question number, leave it open."""
        low, high = _range(self.root, scores, self.algebra)
        return low if low == high else None

    def matches(self, score: float | None) -> bool:
        """Check whether an image whose open questions are all answered is a match, by its `score`."""
        return score is not None and score >= self.threshold

    def open_questions(self, scores: Scores) -> set[int]:
        """Return the questions that can still change whether an image matches, or the score of a match."""
        # Anything below the threshold is alike; the threshold itself is not.
        whole = RelevantInterval(math.nextafter(self.threshold, -math.inf), math.inf)
        return _open(self.root, scores, self.algebra, whole)

    def order(self, samples: Sequence[Scores]) -> list[int]:
        """Return the order of questions by which images like the samples need few of them.

        One after the other, the question that leaves the fewest open is taken.
        """
        order: list[int] = []
        left = list(range(len(self.questions)))
        while left:

            def still_open(question: int) -> int:
                return sum(
                    len(self.open_questions({each: sample[each] for each in (*order, question)})) for sample in samples
                )

            order.append(min(left, key=still_open))
            left.remove(order[-1])
        return order


def _range(node: Node, scores: Scores, algebra: Algebra) -> Range:
    """Return the interval of values that a part can have."""
    match node:
        case Term(question, comparison, to_probability):
            score = scores.get(question)
            if score is None:
                return Range(0.0, 1.0)
            if to_probability is not None:
                score = to_probability(score)
            if comparison is not None:
                score = float(COMPARISONS[comparison[0]](score, comparison[1]))
            return Range(score, score)
        case Not(part):
            low, high = _range(part, scores, algebra)
            return Range(1 - high, 1 - low)
    lows, highs = zip(*(_range(part, scores, algebra) for part in node.parts), strict=True)
    join = _JOINS[algebra, type(node)]
    return Range(join(lows), join(highs))


def _open(node: Node, scores: Scores, algebra: Algebra, window: RelevantInterval) -> set[int]:
    """Return the questions in a part that can still change its value as far as that is within the window."""
    low, high = _range(node, scores, algebra)
    if low == high or high <= window.low or low >= window.high:
        return set()
    match node:
        case Term(question):
            return {question}
        case Not(part):
            return _open(part, scores, algebra, RelevantInterval(1 - window.high, 1 - window.low))
    found: set[int] = set()
    ranges = [_range(part, scores, algebra) for part in node.parts]
    for index, part in enumerate(node.parts):
        others = ranges[:index] + ranges[index + 1 :]
        found |= _open(part, scores, algebra, _NARROWED[algebra, type(node)](window, others))
    return found


def _least(window: RelevantInterval, others: Sequence[Range]) -> RelevantInterval:
    return RelevantInterval(window.low, min([window.high, *(other.high for other in others)]))


def _greatest(window: RelevantInterval, others: Sequence[Range]) -> RelevantInterval:
    return RelevantInterval(max([window.low, *(other.low for other in others)]), window.high)


def _times(window: RelevantInterval, others: Sequence[Range]) -> RelevantInterval:
    least, most = (math.prod(values) for values in zip(*others, strict=True))
    return RelevantInterval(window.low / most if most > 0 else math.inf, window.high / least if least > 0 else math.inf)


def _one_minus_times(window: RelevantInterval, others: Sequence[Range]) -> RelevantInterval:
    turned = [Range(1 - high, 1 - low) for low, high in others]
    low, high = _times(RelevantInterval(1 - window.high, 1 - window.low), turned)
    return RelevantInterval(1 - high, 1 - low)


def _noisy_or(values: Sequence[float]) -> float:
    return 1 - math.prod(1 - value for value in values)


_JOINS: Mapping[tuple[Algebra, type], Callable[[Sequence[float]], float]] = {
    ("min-max", AllOf): min,
    ("min-max", AnyOf): max,
    ("product", AllOf): math.prod,
    ("product", AnyOf): _noisy_or,
}
# Which values of a part matter, beside the ranges of the other parts.
_NARROWED: Mapping[tuple[Algebra, type], Callable[[RelevantInterval, Sequence[Range]], RelevantInterval]] = {
    ("min-max", AllOf): _least,
    ("min-max", AnyOf): _greatest,
    ("product", AllOf): _times,
    ("product", AnyOf): _one_minus_times,
}

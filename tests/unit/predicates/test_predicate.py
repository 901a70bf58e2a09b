"""Expressions over scores: their values, and which questions still matter."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.predicates.parser import parse
from vqa_ray.predicates.predicate import (
    ALGEBRAS,
    COMPARISONS,
    Algebra,
    AllOf,
    AnyOf,
    Node,
    Not,
    Predicate,
    Question,
    Term,
)

NUMBERS = 4
QUESTIONS = tuple(Question(f"{number}?") for number in range(NUMBERS))
# Coarse values, so that scores tie with each other, with bounds and with thresholds.
VALUES = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.625, 0.75, 1.0])
LEAVES = st.builds(
    Term,
    st.integers(0, NUMBERS - 1),
    st.none() | st.tuples(st.sampled_from(sorted(COMPARISONS)), VALUES),
)


def joined(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, parts) | st.builds(AllOf, several) | st.builds(AnyOf, several)


NODES = st.recursive(LEAVES, joined, max_leaves=8)


def value(node: Node, scores: dict[int, float], algebra: Algebra) -> float:
    """By the definition of the algebra, with every score known."""
    match node:
        case Term(question, None):
            return scores[question]
        case Term(question, (sign, bound)):
            return float(COMPARISONS[sign](scores[question], bound))
        case Not(part):
            return 1 - value(part, scores, algebra)
        case AllOf(parts):
            values = [value(part, scores, algebra) for part in parts]
            return min(values) if algebra == "min-max" else math.prod(values)
        case AnyOf(parts):
            values = [value(part, scores, algebra) for part in parts]
            return max(values) if algebra == "min-max" else 1 - math.prod(1 - each for each in values)
    raise AssertionError(node)


@given(NODES, st.sampled_from(ALGEBRAS), VALUES, st.lists(VALUES, min_size=NUMBERS, max_size=NUMBERS), st.randoms())
def test_asking_only_what_is_open_gives_the_result_of_asking_all(
    node: Node, algebra: Algebra, threshold: float, values: list[float], random: object
) -> None:
    predicate = Predicate(QUESTIONS, node, threshold, algebra)
    scores = dict(enumerate(values))
    asked: dict[int, float] = {}
    while still_open := predicate.open_questions(asked):
        assert not still_open & asked.keys()
        chosen = random.choice(sorted(still_open))  # type: ignore[attr-defined]
        asked[chosen] = scores[chosen]
    whole = value(node, scores, algebra)
    found = predicate.score(asked)
    assert predicate.matches(found) == (whole >= threshold)
    assert predicate.score(scores) == whole
    if found is not None:
        assert found == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize(
    ("where", "known", "still_open"),
    [
        ('"a?" and "b?" and "c?"', {}, {0, 1, 2}),
        ('"a?" and "b?" and "c?"', {1: 0.49}, set()),
        ('"a?" and "b?" and "c?"', {1: 0.5}, {0, 2}),
        # The exact score of a match is owed, so another question can still raise it.
        ('"a?" or "b?"', {0: 0.9}, {1}),
        ('"a?" or "b?"', {0: 1.0}, set()),
        ('"a?" >= 0.5 or "b?"', {0: 0.6}, set()),
        ('not "a?" and "b?"', {0: 0.8}, set()),
        ('"a?" and ("b?" or "c?")', {0: 0.7, 1: 0.7}, set()),
        ('"a?" and ("b?" or "c?")', {0: 0.7, 1: 0.6}, {2}),
        ('"a?" and "a?"', {0: 0.7}, set()),
        ('"a?" < 0.5', {0: 0.4}, set()),
    ],
)
def test_open_questions(where: str, known: dict[int, float], still_open: set[int]) -> None:
    assert parse(where).open_questions(known) == still_open


def test_products_settle_earlier() -> None:
    predicate = parse('"a?" and "b?" and "c?"', 0.5, "product")
    assert predicate.open_questions({0: 0.7, 1: 0.7}) == set()
    assert predicate.open_questions({0: 0.7, 1: 0.8}) == {2}
    assert predicate.score({0: 0.5, 1: 0.5, 2: 0.5}) == 0.125


def test_the_selective_question_goes_first() -> None:
    predicate = parse('"is it red?" and "is there a dog?" and "is it a mug?"')
    samples = [
        {0: float(red), 1: float(dog == 0), 2: float(mug)}
        for red, dog, mug in itertools.product(range(2), range(8), range(2))
    ]
    assert predicate.order(samples)[0] == 1
    assert sorted(predicate.order(samples)) == [0, 1, 2]
    assert predicate.order([]) == [0, 1, 2]


def test_algebras_are_told() -> None:
    assert get_args(Algebra) == ALGEBRAS == ("min-max", "product")

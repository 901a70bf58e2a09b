"""Verdicts of people, on the answers that they saw and on others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.registry import protocol
from vqa_ray.review.sample import draw


def truth(verdict: str, reviewed: str | None, answer: str | None, probability: float = 1.0) -> dict[str, Any]:
    return {"verdict": verdict, "reviewed": reviewed, "answer": answer, "probability": probability}


@pytest.mark.parametrize(
    ("prediction", "known", "score"),
    [
        ("Mug", truth("right", "mug", "mug"), 1.0),
        ("mug", truth("wrong", "mug", None), 0.0),
        ("mug", truth("other", "mug", "cup"), 0.0),
        # Answers of another run.
        ("cup", truth("right", "mug", "mug"), 0.0),
        ("cup", truth("other", "mug", "Cup"), 1.0),
        ("no", truth("wrong", "yes", "no"), 1.0),
    ],
)
def test_a_verdict_holds_for_equal_answers_and_tells_of_others(
    prediction: str, known: dict[str, Any], score: float
) -> None:
    assert protocol("verdicts").judge(prediction, known).score == score


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (truth("wrong", "mug", None), "the right answer is not known, and another answer was reviewed"),
        (truth("maybe", "mug", "cup"), "verdict 'maybe': wanted right, wrong, other"),
        (truth("right", "mug", "mug", 0.0), "inclusion_probability 0.0: wanted more than 0"),
    ],
)
def test_what_says_nothing_is_no_truth(known: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol("verdicts").judge("bowl", known)


def test_rows_count_by_their_probability() -> None:
    rows = [("a", truth("right", "a", "a", 0.1)), ("b", truth("wrong", "b", None, 0.5))]
    assert measure(protocol("verdicts"), rows)["accuracy"] == pytest.approx(10 / 12)
    assert protocol("verdicts").notes(judge_all(protocol("verdicts"), rows)) == [
        "rows count between 2 and 10: one over their probability"
    ]


def test_the_estimate_is_that_of_all_rows() -> None:
    """Of a population where unsure answers are more often wrong, a sample of mostly unsure ones tells the accuracy."""
    rng = np.random.default_rng(0)
    scores = rng.random(2000)
    right = rng.random(2000) < scores
    strata = np.zeros(2000)
    found = []
    for seed in range(60):
        sample = draw("uncertain", 200, seed, strata, scores)
        rows = [
            ("a", truth("right" if right[item] else "wrong", "a", "a" if right[item] else None, float(probability)))
            for item, probability in zip(sample.items, sample.probability, strict=True)
        ]
        found.append(measure(protocol("verdicts"), rows)["accuracy"])
    assert np.mean(found) == pytest.approx(right.mean(), abs=0.01)

"""VQA accuracy: the official results, hand-worked cases, range and independence of order."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.evaluation.vqa_accuracy import JudgedAnswer, answer_accuracy, vqa_accuracy

CASES = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data")) / "vqa_metric" / "vqa_metric_cases.json"


@pytest.mark.skipif(not CASES.exists(), reason="the official cases are not at hand")
def test_agrees_with_the_official_code_on_every_case() -> None:
    official = json.loads(CASES.read_text())
    cases = official["cases"]
    judged = [JudgedAnswer(each["prediction"], each["answers"], each["answer_type"]) for each in cases]
    ours = [round(100 * answer_accuracy(each.answer, each.annotator_answers), 2) for each in judged]
    assert len(cases) == 600
    assert ours == [each["accuracy"] for each in cases]
    result = vqa_accuracy(judged)
    assert round(100 * result.overall, 2) == official["overall"]["overall"]
    assert {kind: round(100 * value, 2) for kind, value in result.by_type.items()} == official["overall"][
        "perAnswerType"
    ]


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ("red", ["red"] * 10, 1.0),
        ("Red", ["red"] * 10, 0.0),  # normalised only where the annotators differ
        ("Red", ["red"] * 9 + ["blue"], 1.0),
        ("red", ["red"] * 3 + ["blue"] * 7, 0.9),
        ("red", ["red"] * 2 + ["blue"] * 8, 0.6),
        ("red", ["red"] + ["blue"] * 9, 0.3),
        ("green", ["red"] * 5 + ["blue"] * 5, 0.0),
        (None, ["red"] * 10, 0.0),
        ("the dog.", ["dog"], 1.0),  # a single annotator: equal or not
        ("cat", ["dog"], 0.0),
    ],
)
def test_hand_worked_cases(answer: str | None, truth: list[str], expected: float) -> None:
    assert answer_accuracy(answer, truth) == pytest.approx(expected)


WORDS = st.sampled_from(["red", "Red", "the red", "two", "2", "dont", "don't", "blue", ""])


@settings(deadline=None)
@given(st.one_of(st.none(), WORDS), st.lists(WORDS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_in_range_and_independent_of_annotator_order(answer, truth, random) -> None:  # type: ignore[no-untyped-def]
    value = answer_accuracy(answer, truth)
    shuffled = random.sample(truth, len(truth))
    assert 0 <= value <= 1
    assert answer_accuracy(answer, shuffled) == value


def test_groups_by_answer_type() -> None:
    result = vqa_accuracy(
        [
            JudgedAnswer("yes", ["yes"], "yes/no"),
            JudgedAnswer("no", ["yes"], "yes/no"),
            JudgedAnswer("mug", ["mug"], "other"),
            JudgedAnswer("mug", ["mug"], "other"),
        ]
    )
    assert (result.overall, result.n) == (0.75, 4)
    assert result.by_type == {"other": 1.0, "yes/no": 0.5}
    assert result.n_by_type == {"other": 2, "yes/no": 2}


def test_nothing_to_judge_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 given, at least 1 needed"):
        vqa_accuracy([])
    with pytest.raises(ValueError, match="without annotator answers"):
        answer_accuracy("red", [])

"""VQA accuracy of four benchmarks: the official figures, the forms of answers, few annotators, bad truth."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.protocol import JudgedRows
from vqa_ray.evaluation.registry import protocol

CASES = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data")) / "vqa_metric" / "vqa_metric_cases.json"


def by_group(rows: JudgedRows, role: str) -> dict[str, float]:
    kinds, codes = rows.codes(role)
    name = "vqa-v2"
    return {
        kind: round(protocol(name).measures(rows, (codes == number).astype(float))["accuracy"], 2)
        for number, (kind,) in enumerate(kinds)
    }


@pytest.mark.skipif(not CASES.exists(), reason="the official cases are not at hand")
@pytest.mark.parametrize("stored", [np.float64, np.float32])
def test_equals_the_official_script_on_every_case_and_type(stored: Any) -> None:
    official = json.loads(CASES.read_text())
    cases, overall = official["cases"], official["overall"]
    rows = judge_all(protocol("vqa-v2"), [(each["prediction"], each) for each in cases])
    rows = replace(rows, score=rows.score.astype(stored).astype(float))
    assert [round(100 * float(score), 2) for score in rows.score] == [each["accuracy"] for each in cases]
    assert round(protocol("vqa-v2").measures(rows, np.ones(len(rows)))["accuracy"], 2) == overall["overall"]
    assert by_group(rows, "question_type") == overall["perQuestionType"]
    assert by_group(rows, "answer_type") == overall["perAnswerType"]


def test_a_mean_that_lies_halfway_rounds_as_the_script_rounds_it() -> None:
    """The script adds doubles one by one and rounds to two decimals, so that 12.345 may become either."""
    for count in range(1, 400):
        agreeing = [1] * (count % 40) + [2] * (count % 7) + [0] * (400 - count % 40 - count % 7)
        cases = [("red", {"answers": ["red"] * n + [f"x{i}" for i in range(10 - n)]}) for n in agreeing]
        official = [sum(min(1, (n - (at < n)) / 3) for at in range(10)) / 10 for n in agreeing]
        wanted = round(100 * float(sum_in_turn(official)) / 400, 2)
        if count % 25 == 0:
            rows = judge_all(made := protocol("vqa-v2"), cases)
            for stored in (np.float64, np.float32):
                kept = replace(rows, score=rows.score.astype(stored).astype(float))
                assert round(made.measures(kept, np.ones(400))["accuracy"], 2) == wanted


def sum_in_turn(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


@pytest.mark.parametrize(
    ("name", "answer", "truth", "expected"),
    [
        ("vqa-v2", "Red", ["red"] * 10, 0.0),  # normalised only where people differ
        ("okvqa", "The red.", ["red"] * 9 + ["blue"], 100.0),
        ("textvqa", "Red", ["red"] * 10, 100.0),  # always normalised
        ("textvqa", "1,000", ["1000"] * 10, 100.0),
        ("vqa-v2", "what?is", ["whatis"] * 9 + ["x"], 0.0),
        ("textvqa", "what?is", ["whatis"] * 9 + ["x"], 100.0),
        ("textvqa", "dog's", ["dog 's"] * 10, 100.0),
        ("vizwiz", "The Red.", ["red"] * 10, 100.0),
        ("vizwiz", "coca-cola", ["coca-cola"] * 10, 0.0),  # people's answers are compared as they are
        ("vizwiz-lmms-eval", "coca-cola", ["Coca-Cola"] * 10, 100.0),
        ("okvqa-lmms-eval", "Red", ["red"] * 10, 100.0),
        ("vizwiz", "Unanswerable", ["unanswerable"] * 2 + ["x"] * 8, 60.0),
    ],
)
def test_the_form_in_which_answers_are_compared(name: str, answer: str, truth: list[str], expected: float) -> None:
    assert measure(protocol(name), [(answer, {"answers": truth})])["accuracy"] == pytest.approx(expected)


def test_vizwiz_says_how_well_unanswerable_questions_are_found() -> None:
    words = ["x"] * 10
    cases = [
        ("unanswerable", {"answers": words, "answer_type": "unanswerable"}),
        ("Unanswerable.", {"answers": words, "answerable": 0}),
        ("unanswerable", {"answers": words, "answerable": 1, "answer_type": "unanswerable"}),  # the column decides
        ("red", {"answers": words, "answer_type": "unanswerable"}),
        (None, {"answers": words, "answerable": 0}),
        ("red", {"answers": words, "answer_type": "other"}),
    ]
    assert measure(protocol("vizwiz"), cases)["unanswerable_f1"] == pytest.approx(100 * 2 * 2 / (3 + 4))
    assert np.isnan(measure(protocol("vizwiz"), cases[-1:])["unanswerable_f1"])


@pytest.mark.parametrize("name", ["vqa-v2", "okvqa", "vizwiz", "textvqa"])
def test_fewer_than_ten_annotators_are_judged_and_counted(name: str) -> None:
    made = protocol(name)
    truths = [["red"] * 10, ["red"], ["red", "red", "blue"], [{"answer": "red"}] * 4, ["blue"] * 5]
    rows = judge_all(made, [("red", {"answers": each}) for each in truths] + [(None, {"answers": ["red"] * 3})])
    assert list(rows.score) == pytest.approx([1, 1, (2 / 3 + 2 * 1 / 3) / 3, 1, 0, 0])
    assert "5 of 6 rows have fewer than the 10 annotator answers" in made.notes(rows)[0]
    assert made.notes(judge_all(made, [("red", {"answers": ["red"] * 10})])) == []
    assert rows.truth[2] == "red"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (None, "no annotator answers: at least 1"),
        ([], "no annotator answers"),
        ([3], "3 among them"),
        (7, "7 given"),
        (["red", None], "None among them"),
    ],
)
def test_truth_that_cannot_be_used_is_named(answers: Any, message: str) -> None:
    for judge in (lambda t: protocol("vqa-v2").judge("red", t), protocol("vqa-v2").judge_absent):
        with pytest.raises(ValueError, match=message):
            judge({"answers": answers})


WORDS = st.sampled_from(["red", "Red", "the red", "two", "2", "dont", "don't", "blue", "", "1,000", "dog's"])


@settings(deadline=None)
@given(
    st.sampled_from(["vqa-v2", "okvqa", "vizwiz", "textvqa"]),
    WORDS,
    st.lists(WORDS, min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_scores_are_bounded_and_do_not_depend_on_the_order_of_annotators(name, answer, truth, random) -> None:  # type: ignore[no-untyped-def]
    made = protocol(name)
    score = made.judge(answer, {"answers": truth}).score
    assert 0 <= score <= 1
    assert made.judge(answer, {"answers": random.sample(truth, len(truth))}).score == score


@given(st.integers(0, 11), st.integers(1, 12))
def test_another_who_agrees_never_lowers_the_score(agreeing: int, annotators: int) -> None:
    truth = ["red"] * min(agreeing, annotators) + ["blue"] * max(0, annotators - agreeing)
    more = ["red"] * min(agreeing + 1, annotators) + ["blue"] * max(0, annotators - agreeing - 1)
    made = protocol("textvqa")
    assert made.judge("red", {"answers": truth}).score <= made.judge("red", {"answers": more}).score

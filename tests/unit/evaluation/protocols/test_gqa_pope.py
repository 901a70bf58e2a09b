"""GQA and POPE by the rules of their scripts."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.registry import protocol

POPE = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data")) / "pope"


@pytest.mark.parametrize(
    ("name", "answer", "right"),
    [
        ("gqa", "left", True),
        ("gqa", "Left", False),
        ("gqa", "left.", False),
        ("gqa-llava", "Left.", True),
        ("gqa-llava", "left!", False),
        ("gqa-lmms-eval", "Left!", True),
        ("gqa-lmms-eval", "the left", False),
    ],
)
def test_gqa_compares_strings(name: str, answer: str, right: bool) -> None:
    assert measure(protocol(name), [(answer, {"answer": "left"})])["accuracy"] == 100 * right


def test_gqa_by_kind_of_question() -> None:
    kinds = ["query", "query", "verify", "logical", "choose", None]
    answers = ["a", "b", "a", None, "a", "a"]
    found = measure(
        protocol("gqa"), [(said, {"answer": "a", "structural": k}) for said, k in zip(answers, kinds, strict=True)]
    )
    assert found == pytest.approx({"accuracy": 100 * 4 / 6, "open": 50.0, "binary": 100 * 2 / 3})
    assert np.isnan(measure(protocol("gqa"), [("a", {"answer": "a"})])["open"])
    with pytest.raises(ValueError, match="exactly 1 is needed"):
        protocol("gqa").judge("a", {"answer": ["a", "b"]})


def official_pope(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """The formulas of POPE's evaluate.py, plainly."""
    counts = {(said, true): 0 for said in (0, 1) for true in (0, 1)}
    for answer, label in pairs:
        words = answer.split(".")[0].replace(",", "").split(" ")
        counts[int(not {"No", "no", "not"} & set(words)), int(label == "yes")] += 1
    tp, fp, fn, tn = counts[1, 1], counts[1, 0], counts[0, 1], counts[0, 0]
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return {
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "yes_ratio": (tp + fp) / (tp + tn + fp + fn),
    }


@pytest.mark.skipif(not POPE.is_dir(), reason="the labels of POPE are not at hand")
@pytest.mark.parametrize("split", ["random", "popular", "adversarial"])
def test_pope_on_its_labels(split: str) -> None:
    labels = [json.loads(line) for line in (POPE / f"coco_pope_{split}.json").read_text().splitlines()]
    said = ["Yes, there is.", "No, there is not.", "no", "yes", "There is a dog, not a cat. Yes"]
    answers = [said[(index * 7 + len(row["image"]) + index // 3) % 5] for index, row in enumerate(labels)]
    found = measure(protocol("pope"), [(a, row) for a, row in zip(answers, labels, strict=True)])
    assert found == official_pope((a, row["label"]) for a, row in zip(answers, labels, strict=True))


def test_pope_by_hand_with_rows_without_a_prediction() -> None:
    cases: list[tuple[Any, dict[str, Any]]] = [
        ("yes", {"label": "yes", "split": "random"}),
        ("Maybe", {"label": "no"}),  # neither yes nor no: yes by the official rule, and said so
        ("no", {"label": 1}),
        ("No.", {"label": False}),
        (None, {"label": "yes"}),
        (None, {"label": "no"}),
    ]
    rows = judge_all(protocol("pope"), cases)
    found = protocol("pope").measures(rows, np.ones(6))
    assert found == pytest.approx(
        {"accuracy": 2 / 6, "precision": 1 / 2, "recall": 1 / 3, "f1": 0.4, "yes_ratio": 2 / 6}
    )
    assert protocol("pope").notes(rows) == ["1 of 6 answers say neither yes nor no; POPE's rule reads them as yes"]
    none = measure(protocol("pope"), [("no", {"label": "no"})])
    assert none["accuracy"] == 1
    assert all(np.isnan(none[name]) for name in ("precision", "recall", "f1"))
    with pytest.raises(ValueError, match="label: 'maybe' given, yes or no is needed"):
        protocol("pope").judge("yes", {"label": "maybe"})


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["yes", "no", "not", None]), st.booleans()), min_size=1))
def test_pope_measures_are_ratios(pairs: list[tuple[str | None, bool]]) -> None:
    for value in measure(protocol("pope"), [(said, {"label": label}) for said, label in pairs]).values():
        assert np.isnan(value) or 0 <= value <= 1

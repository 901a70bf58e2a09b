"""MME: answers, pairs of an image, tasks and their sums."""

import math
from typing import Any

import numpy as np
import pytest

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.protocols.mme import Mme, yes_or_no


@pytest.mark.parametrize(
    ("text", "read"),
    [
        *(("yes", "yes"), ("Yes, it is", "yes"), ("YES", "yes"), (" yes", "yes"), ("eyes", "yes")),
        *(("no", "no"), ("No.", "no"), ("not at all", "no"), ("  no", "no"), ("nope", "no"), ("I no", "no")),
        *(("", None), ("  yes", None), ("It is, yes", None), ("y", None), ("oui", None), ("否", None)),
    ],
)
def test_yes_and_no_are_read_in_four_characters(text: str, read: str | None) -> None:
    assert yes_or_no(text) == read


def row(
    said: str | None, answer: str = "Yes", image: Any = 1, category: str = "count"
) -> tuple[str | None, dict[str, Any]]:
    return said, {"answer": answer, "image": image, "category": category}


def test_a_task_is_accuracy_plus_pairs() -> None:
    cases = [row("yes"), row("no", "No"), row("yes", image=2), row("yes", "No", image=2)]
    found = measure(Mme(), cases)
    assert found["count"] == found["perception"] == 75 + 50
    assert found["accuracy"] == 0.75
    assert math.isnan(found["cognition"])


def test_the_same_image_in_two_tasks_is_two_pairs() -> None:
    cases = [row("yes"), row("yes", "No"), row("yes", category="ocr"), row("no", "No", category="OCR")]
    found = measure(Mme(), [*cases, row("no", category="code_reasoning")])
    assert (found["count"], found["OCR"], found["code_reasoning"]) == (50, 200, 0)
    assert (found["perception"], found["cognition"]) == (250, 0)


def test_an_unread_or_missing_answer_spoils_its_pair() -> None:
    assert measure(Mme(), [row("yes"), row("perhaps", "No")])["count"] == 50
    assert measure(Mme(), [row("yes"), row(None, "No")])["count"] == 50


def test_an_image_that_is_drawn_twice_counts_twice() -> None:
    rows = judge_all(Mme(), [row("yes"), row("no", "No"), row("no", image=2), row("no", "No", image=2)])
    assert Mme().measures(rows, np.array([3.0, 3.0, 1.0, 1.0]))["count"] == 100 * 7 / 8 + 75
    assert Mme().measures(rows, np.array([0.0, 0.0, 1.0, 1.0]))["count"] == 50


def test_images_without_a_pair_are_noted() -> None:
    rows = judge_all(Mme(), [row("yes"), row("no", "No"), row("no", image=2)])
    assert Mme().notes(rows) == [
        "1 image has another number of questions than 2; all of them have to be right for the pair."
    ]
    assert Mme().notes(judge_all(Mme(), [row("yes"), row("no", "No")])) == []


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({"answer": "maybe"}, "the answer is yes or no, 'maybe' given"),
        ({"answer": None}, "the answer is yes or no, 'none' given"),
        ({"category": "sports"}, "'sports' is no task of MME; they are existence, count"),
    ],
)
def test_bad_truth(truth: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Mme().judge("yes", row("")[1] | truth)

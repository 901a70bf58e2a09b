"""Options as published files state them, and the right one."""

from typing import Any

import numpy as np
import pytest

from vqa_ray.evaluation.options import options_of, right_letter
from vqa_ray.evaluation.spelled_list import texts_of

PETS = {"A": "cat", "B": "dog"}


@pytest.mark.parametrize(
    "truth",
    [
        {"choices": ["cat", "dog"]},
        {"choices": ("cat", "dog")},
        {"choices": np.array(["cat", "dog"], object)},
        {"choices": '["cat", "dog"]'},
        {"choices": "['cat', 'dog']"},
        {"choices": PETS},
        {"choices": "{'A': 'cat', 'B': 'dog'}"},
        {"A": "cat", "B": "dog", "C": None, "D": float("nan")},
        {"choices": None, "A": "cat", "B": "dog", "C": "", "D": ""},
    ],
)
def test_options_are_read_from_every_form(truth: dict[str, Any]) -> None:
    assert options_of(truth) == PETS


def test_no_options_are_none() -> None:
    assert options_of({"choices": None}) == options_of({}) == {}


def test_numbers_become_text() -> None:
    assert options_of({"choices": [1, 2.5]}) == {"A": "1", "B": "2.5"}


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({"A": "cat", "B": None, "C": "dog"}, "option B is missing: the options are A, B, C"),
        ({"B": "dog"}, "option A is missing"),
        ({"choices": {"A": "cat", "C": "dog"}}, "option B is missing: the options are A, C"),
        ({"choices": ["cat", None]}, "option B is missing"),
        ({"choices": "cat or dog"}, "a list is expected, 'cat or dog' given"),
        ({"choices": 7}, "a list is expected, '7' given"),
    ],
)
def test_a_missing_letter_is_bad_truth(truth: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        options_of(truth)


@pytest.mark.parametrize("answer", ["B", "b", " B ", "(B)", "B.", 1, "1", np.int64(1), 1.0, "1.0"])
def test_the_right_letter_is_a_letter_or_an_index(answer: Any) -> None:
    assert right_letter(answer, PETS) == "B"


@pytest.mark.parametrize("answer", ["C", "", "dog", 2, -1, "-1", None, 1.5, float("nan"), "²", "9" * 5000])
def test_another_answer_is_bad_truth(answer: Any) -> None:
    with pytest.raises(ValueError, match="is none of the options, which are A to B"):
        right_letter(answer, PETS)


def test_a_list_of_texts_is_told_from_a_text_in_brackets() -> None:
    assert texts_of("['24/7', '3.43']") == ["24/7", "3.43"]
    assert texts_of("[6, 7]") == texts_of("[a, b]") == texts_of("7") == texts_of("[" * 10_000 + "]") == []

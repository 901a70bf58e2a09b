from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.labelled import labelled, weighted
from vqa_ray.errors import RequestError
from vqa_ray.training.vocabulary import build_vocabulary, read_vocabulary


def test_majority_answers_count_most_frequent_first_then_alphabetical() -> None:
    rows = labelled(
        ["yes", "no", "Yes."], ["yes"], ["the dog"], ["cat"], ["sky", "blue"], ["No"], [], ["dog", "cat", "dog"]
    )
    assert build_vocabulary(rows, min_count=1).labels == ("dog", "yes", "blue", "cat", "no")
    assert build_vocabulary(rows, min_count=2).labels == ("dog", "yes")
    assert build_vocabulary(rows, min_count=1, max_answers=3).labels == ("dog", "yes", "blue")


def test_the_heaviest_label_is_the_majority() -> None:
    rows = weighted({"net": 1.0, "bag": 0.3}, {"bag": 0.6, "net": 0.9}, {"sky": 1.0})
    assert build_vocabulary(rows, min_count=1).labels == ("net", "sky")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[], []], "none of the 2 rows to train on has an answer"),
        (
            [["yes"], ["Yes."]],
            "there is only one answer to learn, 'yes' (2 rows); at least two different ones are needed",
        ),
        (
            [["yes"], ["yes"], ["no"]],
            "1 of 2 answers are seen at least 2 times and may be learnt, at least 2 are needed; the most frequent are "
            "'yes' (2 rows), 'no' (1 rows); give a smaller --min-answer-count",
        ),
    ],
)
def test_too_few_answers_are_refused(answers: list[list[str]], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        build_vocabulary(labelled(*answers), min_count=2)
    assert str(caught.value) == message


@settings(deadline=None)
@given(st.permutations([["yes"], ["yes", "no"], ["no"], ["no"], ["red"], ["two"], ["2", "3"]]))
def test_the_order_of_rows_does_not_matter(answers: list[list[str]]) -> None:
    assert build_vocabulary(labelled(*answers), min_count=1).labels == ("no", "2", "red", "yes")


@pytest.mark.parametrize(
    "text",
    ["﻿yes\nno\n\n two  \n", "yes\r\nno\r\ntwo", '["yes", "no", "two"]', '\n{"no": 1, "two": 2, "yes": 0}'],
)
def test_every_form_of_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "answers"
    file.write_bytes(text.encode())
    assert read_vocabulary(str(file)).labels == ("yes", "no", "two")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"yes\n", "an answer vocabulary of 1 answers; at least 2 are needed"),
        (b"yes\nno\nyes\nyes", "the answer 'yes' is there 3 times"),
        (b"yes\n\xff", "the answer vocabulary is not UTF-8 (byte 5)"),
        (b'["yes", "no"', "the answer vocabulary is not JSON: "),
        (b'["yes", 3]', "3 is no answer; wanted is a list of strings"),
        (b'{"yes": 0, "no": 2}', "wanted is {answer: index} with the indices 0 to 1, each once"),
        (b'{"yes": 0, "no": "1"}', "wanted is {answer: index} with the indices 0 to 1, each once"),
        (None, "the answer vocabulary cannot be read: "),
    ],
)
def test_what_is_no_vocabulary_is_refused(tmp_path: Path, data: bytes | None, message: str) -> None:
    file = tmp_path / "answers.txt"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(RequestError) as caught:
        read_vocabulary(str(file))
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.labelled import labelled, weighted
from vqa_ray.errors import RequestError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.training.data.label_notes import learnt_answers, unlabelled, unmatched, unused
from vqa_ray.training.data.vocabulary import build_vocabulary, read_vocabulary, usual_min_count


def test_majority_answers_count_most_frequent_first_then_alphabetical() -> None:
    rows = labelled(
        ["yes", "no", "Yes."], ["yes"], ["the dog"], ["cat"], ["sky", "blue"], ["No"], [], ["dog", "cat", "dog"]
    )
    assert build_vocabulary(rows, min_count=1).labels == ("dog", "yes", "blue", "cat", "no")
    assert build_vocabulary(rows, min_count=2).labels == ("dog", "yes")
    assert build_vocabulary(rows, min_count=1, max_answers=3).labels == ("dog", "yes", "blue")


def test_every_weighted_label_counts_also_that_of_one_annotator() -> None:
    rows = weighted({"net": 1.0, "bag": 0.3}, {"bag": 0.6, "net": 0.9, "hut": 0.0}, {"sky": 1.0})
    assert build_vocabulary(rows, min_count=1).labels == ("bag", "net", "sky")


def test_labels_keep_the_spelling_that_most_people_wrote() -> None:
    rows = labelled(["t-shirt"], ["T shirt"], ["t-shirt "], ["the U.S."], ["Red!"], ["red"], ["two"], ["2"], ["2"])
    assert build_vocabulary(rows, min_count=1).labels == ("2", "t-shirt", "red", "the U.S.")


@settings(deadline=None)
@given(st.permutations(["T-Shirt", "t-shirt", "t shirt", "T-Shirt", "hat", "Hat"]))
def test_equally_frequent_spellings_do_not_depend_on_the_order(said: list[str]) -> None:
    assert build_vocabulary(labelled(*([each] for each in said)), min_count=1).labels == ("T-Shirt", "hat")


@pytest.mark.parametrize(("rows", "least"), [(200, 1), (999, 1), (1_000, 2), (10_000, 4), (100_000, 9)])
def test_the_least_count_follows_the_number_of_rows(rows: int, least: int) -> None:
    assert usual_min_count(labelled(*[["yes"], ["no"]] * (rows // 2), *[["yes"]] * (rows % 2))) == least


def test_the_least_count_leaves_two_answers_where_there_are_two() -> None:
    assert usual_min_count(labelled(*[["yes"]] * 1_500, ["no"])) == 1
    assert usual_min_count(labelled(*[["yes"]] * 1_500)) == 1


def test_what_is_learnt_and_left_out_is_told() -> None:
    rows = labelled(*[["T-Shirt"]] * 3, *[["hat"]] * 2, ["sock"], ["cap"], [])
    told = learnt_answers(rows, build_vocabulary(rows, min_count=2), 2, chosen=True)
    assert told == (
        "2 answers are learnt, those of at least 2 rows (chosen for 8 rows, --min-answer-count changes it); 2 rarer "
        "ones are left out: 'cap' (1 row), 'sock' (1 row)"
    )
    told = learnt_answers(rows, build_vocabulary(rows, min_count=1), 1, chosen=False)
    assert told == "4 answers are learnt, all that there are (--min-answer-count)"


def test_labels_that_do_not_match_are_counted_and_shown() -> None:
    rows = labelled(["T-Shirt"], ["t shirt"], ["sock"], ["sock"], ["cap", "sock", "cap"], [], [])
    vocabulary = AnswerVocabulary(["t-shirt", "hat", "T shirt", "glove"])
    assert unmatched(rows, vocabulary, "count as wrong") == (
        "3 rows have no answer of the vocabulary and count as wrong: 'sock' (2 rows), 'cap' (1 row)"
    )
    assert unmatched(rows, AnswerVocabulary(["t-shirt", "sock"]), "count as wrong") is None
    assert unlabelled(rows, "answer", "row {}".format) == "2 rows of 7 have no answer and are left out: row 5, row 6"
    assert unlabelled(rows.take(np.array([0])), "answer", str) is None
    assert unused(rows, vocabulary) == [
        "2 of 4 answers of the vocabulary occur in no row: 'hat', 'glove'",
        "1 answers of the vocabulary match an earlier one and are learnt as that: 'T shirt' as 't-shirt'",
    ]


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
            "'yes' (2 rows), 'no' (1 row); give a smaller --min-answer-count",
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


def test_an_answer_may_hold_what_is_no_line_end(tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_bytes("yes\r\nno\u2028or\x85so\r\n".encode())
    assert read_vocabulary(str(tmp_path / "answers.txt")).labels == ("yes", "no\u2028or\x85so")

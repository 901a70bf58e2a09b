"""Replies of a teacher as questions and answers."""

from __future__ import annotations

import pytest

from vqa_ray.errors import RowError
from vqa_ray.instruct.replies import parse_pairs

PAIRS = [("What is it?", "A cat.\nIt sleeps."), ("Where?", "On a mat.")]


@pytest.mark.parametrize(
    "reply",
    [
        "Question: What is it?\nAnswer: A cat.\nIt sleeps.\n\nQuestion: Where?\nAnswer: On a mat.",
        "Here is a conversation.\n\n1. **Question:** What is it?\n**Answer:** A cat.\nIt sleeps.\n"
        "2. **Question:** Where?\n**Answer:** On a mat.",
        "Q1: What is it?\nA1: A cat.\nIt sleeps.\nQ2: Where?\nA2: On a mat.",
        "- User: What is it?\n- Assistant: A cat.\nIt sleeps.\n- User: Where?\n- Assistant: On a mat.",
        '```json\n[{"question": "What is it?", "answer": "A cat.\\nIt sleeps."}, {"question": "Where?", '
        '"answer": "On a mat."}]\n```',
        '{"pairs": [{"question": "What is it?", "answer": "A cat.\\nIt sleeps."}, {"question": "Where?", "answer": '
        '"On a mat."}]}',
    ],
)
def test_pairs_are_read_in_the_forms_that_models_write(reply: str) -> None:
    assert parse_pairs(reply) == (PAIRS, None)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("A cat on a mat.", "no question with an answer"),
        ("", "no question with an answer"),
        ("Question: What?\nQuestion: Who?\nAnswer: A cat.", "part 2 is a question out of turn"),
        ("Answer: A cat.", "part 1 is an answer out of turn"),
        ("Question: What?\nAnswer: A cat.\nQuestion: Where?", "the last question has no answer"),
        ("Question: What?\nAnswer:", "pair 1 has no answer"),
        ("Question: <image> What?\nAnswer: A cat.", "pair 1 holds <image>"),
        ("[1, 2]", "a list of something else than objects"),
        ('[{"question": ["What?"], "answer": "A cat."}]', "a list of something else than objects"),
        ('[{"question": "What?", "answer": "\\ud83d"}]', "text that is not Unicode"),
        ("*" * 200_000 + "-" * 200_000, "no question with an answer"),
        ('[{"question": "What?"', "not JSON"),
    ],
)
def test_what_does_not_parse_is_a_typed_error(reply: str, reason: str) -> None:
    with pytest.raises(RowError, match="reply_malformed") as caught:
        parse_pairs(reply)
    assert reason in caught.value.message


def test_of_a_reply_that_was_cut_the_last_pair_is_left_out() -> None:
    reply = "Question: What is it?\nAnswer: A cat.\nIt sleeps.\nQuestion: Where?\nAnswer: On a"
    assert parse_pairs(reply, is_cut=True) == (PAIRS[:1], "the reply was cut: its last pair is left out")
    assert parse_pairs(reply.removesuffix("\nAnswer: On a"), is_cut=True)[0] == PAIRS[:1]
    with pytest.raises(RowError, match="filtered_length"):
        parse_pairs("Question: What?\nAnswer: A", is_cut=True)

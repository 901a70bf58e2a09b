"""The language of `--where`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.errors import RequestError
from vqa_ray.predicates.parser import PredicateError, parse
from vqa_ray.predicates.predicate import AllOf, AnyOf, Not, Question, Term


def test_and_binds_before_or_and_not_before_both() -> None:
    predicate = parse('"a?" or not "b?" and "c?"')
    assert predicate.root == AnyOf((Term(0), AllOf((Not(Term(1)), Term(2)))))
    assert parse('("a?" or not "b?") and "c?"').root == AllOf((AnyOf((Term(0), Not(Term(1)))), Term(2)))
    assert parse('not ("a?" or "b?")').root == Not(AnyOf((Term(0), Term(1))))
    assert parse('NOT NOT "a?"').root == Not(Not(Term(0)))


def test_a_question_that_comes_again_is_asked_once() -> None:
    predicate = parse('"is it  red?" >= .7 and not "is it red?" > 0.9 or "what colour?" = "red" or "what colour?"')
    assert predicate.questions == (
        Question("is it red?"),
        Question("what colour?", "red"),
        Question("what colour?"),
    )
    assert predicate.root == AnyOf((AllOf((Term(0, (">=", 0.7)), Not(Term(0, (">", 0.9))))), Term(1), Term(2)))


def test_quotes_in_quotes() -> None:
    predicate = parse(r""" 'is it "new"?' and "is it \"old\"?" and 'the dog\'s?' """)
    assert [question.text for question in predicate.questions] == ['is it "new"?', 'is it "old"?', "the dog's?"]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", 0, "wanted a question in quotes, found the end"),
        ('"a?" and', 8, "wanted a question in quotes, found the end"),
        ('"a?" "b?"', 5, 'wanted `and`, `or` or the end, found `"b?"`'),
        ('"a?" and or "b?"', 9, "wanted a question in quotes, found `or`"),
        ('("a?" or "b?"', 13, "wanted `)` for the `(` at character 1, found the end"),
        ('"a?")', 4, "wanted `and`, `or` or the end, found `)`; `)` without its `(`"),
        ('"a? and "b?"', 9, "wanted `and`, `or` or the end, found `b`"),
        ('"a?" and \'b?', 9, "this quote is never closed"),
        ("is there a dog?", 0, "wanted a question in quotes, found `is`"),
        ('"a?" >= 1.5', 8, "wanted a number from 0 to 1, found `1.5`"),
        ('"a?" >= "b"', 8, 'wanted a number from 0 to 1, found `"b"`'),
        ('"a?" = red', 7, "wanted an answer in quotes, found `red`"),
        ('"a?" & "b?"', 5, "'&' has no meaning here"),
        ('" "', 0, "the text in quotes is blank"),
        ("(" * 200 + '"a?"' + ")" * 200, 101, "nested more than 100 deep"),
    ],
)
def test_what_is_no_expression_is_told_with_a_caret_below_the_fault(text: str, place: int, reason: str) -> None:
    with pytest.raises(PredicateError) as raised:
        parse(text)
    assert str(raised.value) == f"{reason}, at character {place + 1} of {text!r}"
    shown, caret = raised.value.excerpt.split("\n")
    assert shown == f"  {text}"
    assert caret == " " * (place + 2) + "^"


def test_the_caret_stands_right_below_text_of_several_lines() -> None:
    with pytest.raises(PredicateError) as raised:
        parse('"a?"\n\tand')
    assert raised.value.excerpt == '  "a?"  and\n           ^'


@given(st.text(alphabet="\"'\\()=<>. andortnot?01é\n", max_size=40))
def test_anything_is_read_or_refused(text: str) -> None:
    try:
        predicate = parse(text)
    except RequestError:
        return
    assert predicate.questions
    assert predicate.open_questions({})

"""MMMU's official parser, branch by branch."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.evaluation.mmmu_answer import choice, is_open_answer_right, normal_forms, open_reading

PETS = {"A": "cat", "B": "Dog", "C": "dog house"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        (" B ", "B"),
        (",.!?;:'B':;?!.,", "B"),
        ("The answer is (B) and A it is not", "B"),
        # Of several, the last.
        ("(A) no, (B)", "B"),
        ("(B) no, (A)", "A"),
        ("not A but B here", "B"),
        ("B not A here", "A"),
        # A letter needs spaces around it; marks are stripped at the very ends alone.
        (" B. ", None),
        ("B, surely", None),
        ("b", None),
        # Wordings only in more than five words; of two at the same place the first.
        ("a dog", None),
        ("it may well be a DOG", "B"),
        ("it may well be a dog house", "B"),
        ("a cat and then it is a dog", "B"),
        ("", None),
        ("it may well be a bird here", None),
    ],
)
def test_letters(text: str, letter: str | None) -> None:
    assert choice(text, PETS) == letter


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("12", [12.0]),
        (" 1,234.567 ", [1234.57]),
        ("1e3", [1000.0]),
        ("Dog House ", ["dog house"]),
        ("X", [" x", "x "]),
        ("", [""]),
        ("50%", ["50%"]),
    ],
)
def test_normal_forms(text: str, forms: list[str | float]) -> None:
    assert normal_forms(text) == forms


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("12", {12.0}),
        ("", {""}),
        ("12.", {12.0}),
        ("The answer is 12 cm", {"12 cm", 12.0}),
        # The shortest tail after a signal, in each line.
        ("So the result is 3.\nThus x could be 4", {3.0, 4.0}),
        # The equals sign counts in the last line only.
        ("x = 5\ny = 6", {6.0}),
        ("x = 5\ny", {"x = 5\ny", 5.0}),
        # Nothing but a mark after the signal.
        ("the answer is :", {"the answer is :"}),
        ("the answer is", {"is"}),
        # Numbers: grouped, scientific, plain, and parts of others; a number before a comma is none.
        ("1,234,567 or 7", {"1,234,567 or 7", 1234567.0, 567.0, 7.0}),
        ("-2.5e-1 or -.5", {"-2.5e-1 or -.5", -0.25, -2.0, -1.0, -0.5}),
        ("3, 4", {"3, 4", 4.0}),
        ("A. B is C. D", {"c. d"}),
        ("final result 9", {9.0}),
    ],
)  # fmt: skip
def test_open_readings(text: str, reading: set[str | float]) -> None:
    assert open_reading(text) == reading


@pytest.mark.parametrize(
    ("text", "answers", "right"),
    [
        ("The answer is 12.004 cm", ["12"], True),
        ("The answer is 12.01 cm", ["12"], False),
        ("It is $1,234", ["1234"], True),
        ("the blue whale", ["Whale"], True),
        ("the blue wha", ["Whale"], False),
        # A single letter needs a space beside it.
        ("it is x", ["X"], True),
        ("it is ax", ["X"], False),
        ("it is x rays", ["X"], True),
        # One of several answers; a number is not looked for in a text.
        ("24/7", ["3.43", "24/7"], True),
        ("about twelve", ["12"], False),
        ("abc12", ["12"], True),
        ("nan", ["nan"], False),
    ],
)
def test_open_answers(text: str, answers: list[str], right: bool) -> None:
    assert is_open_answer_right(open_reading(text), answers) is right


@given(st.text(max_size=80))
def test_a_reading_is_never_empty(text: str) -> None:
    assert open_reading(text)


@given(st.floats(-1e9, 1e9), st.sampled_from(["{:.2f}", "The answer is {:.2f} units", "{:,.2f}", "So x = {:.2f}."]))
def test_a_number_is_found_in_every_phrase(number: float, form: str) -> None:
    rounded = float(f"{number:.2f}")
    texts = open_reading(form.format(number))
    assert any(isinstance(each, float) and math.isclose(each, rounded) for each in texts)
    assert is_open_answer_right(texts, [f"{number:.2f}"])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "1" * 1_000_000,
        "1," * 500_000,
        "1.1" * 300_000,
        "-" * 1_000_000,
        "1e" * 500_000,
        "is " * 300_000,
        "=\n" * 300_000,
    ],
)
def test_long_answers_take_no_square_of_their_length(text: str) -> None:
    assert open_reading(text)
    choice(text, PETS)

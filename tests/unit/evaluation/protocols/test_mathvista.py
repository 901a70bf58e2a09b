"""MathVista: options, numbers, lists and texts, and what is read of explanations."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.judged_rows import measure
from vqa_ray.evaluation.protocols.mathvista import MathVista, MathVistaOfficial

ANGLES = ["30°", "45°", "60 degrees"]


def read(text: str, **truth: Any) -> str | None:
    return MathVista().judge(text, truth).read_as


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("45°", "45°"),
        ("B", "45°"),
        (" (b) 30°", "45°"),
        ("(B) or (C)", "45°"),
        ('I think so. The answer is "60 degrees".', "60 degrees"),
        # The nearest, the first of equals.
        ("60 degree", "60 degrees"),
        ("45 °", "45°"),
        ("35°", "30°"),
        ("D", "30°"),
        ("(D)", "30°"),
        ("b", "30°"),
        # Explanations.
        ("Let us see. " * 30 + "The answer is (C).", "60 degrees"),
        ("Let us see. " * 30 + "Answer: **B**", "45°"),
        ("Let us see. " * 30 + "The answer is Zero", None),
        ("Let us see. " * 30 + "(B)", None),
        ("", None),
        ("  ", None),
    ],
)
def test_options(text: str, option: str | None) -> None:
    assert read(text, answer="45°", choices=ANGLES) == option


@pytest.mark.parametrize(
    ("text", "option"),
    [("", "30°"), ("  ", "30°"), ("Let us see. " * 30 + "Answer: B", "60 degrees"), ("B", "45°"), ("(b)", "45°")],
)
def test_the_official_script_guesses(text: str, option: str) -> None:
    truth = {"answer": "45°", "choices": ANGLES}
    assert MathVistaOfficial().judge(text, truth).read_as == option
    assert MathVistaOfficial().judge_absent(truth).read_as is None


@pytest.mark.parametrize(("text", "form"), [("12.9", "12"), ("answer: 12", None), ("", None), ("inf", None)])
def test_the_official_script_reads_bare_numbers(text: str, form: str | None) -> None:
    assert MathVistaOfficial().judge(text, {"answer": "12"}).read_as == form


def test_a_letter_goes_before_a_wording() -> None:
    assert read("(b)", answer="(b)", choices=["(c)", "(b)"]) == "(b)"
    assert read("(b)", answer="(b)", choices=["(b)", "(c)"]) == "(c)"


@pytest.mark.parametrize(
    ("text", "kind", "precision", "form"),
    [
        ("12", "integer", None, "12"),
        ("12.9", "integer", None, "12"),
        (" 1e3 ", "integer", None, "1000"),
        ("-3", "integer", None, "-3"),
        ('The answer is "7".', "integer", None, "7"),
        ("The answer is 1,234.", "integer", None, "1234"),
        ("6 + 6, so the answer is $12 in all", "integer", None, "12"),
        ("Answer: 3\nNo. Answer: **4**", "integer", None, "4"),
        ("answer: 2x3", "integer", None, None),
        ("12 cm", "integer", None, None),
        ("", "integer", None, None),
        ("nan", "integer", None, None),
        ("inf", "integer", None, None),
        ("1.25", "float", 1, "1.2"),
        ("1.35", "float", 1.0, "1.4"),
        ("1.35", "float", "1.0", "1.4"),
        ("2", "float", 2, "2.0"),
        ("answer is .5 m", "float", 2, "0.5"),
        ("answer: -0.125", "float", 2, "-0.12"),
        ("one", "float", 1, None),
        ("[1, 2]", "list", None, "[1, 2]"),
        ("red", "text", None, "red"),
        ('The answer is "red".', "text", None, "red"),
        ("", "text", None, None),
    ],
)
def test_free_answers(text: str, kind: str, precision: Any, form: str | None) -> None:
    assert read(text, answer="1", answer_type=kind, precision=precision, question_type="free_form") == form


@pytest.mark.parametrize(
    ("answer", "text", "form"), [("12", "12.0", "12"), ("red", "12.0", "12.0"), ("-3", "-3.2", "-3")]
)
def test_the_type_of_an_answer_is_seen(answer: str, text: str, form: str) -> None:
    assert read(text, answer=answer) == form


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({"answer": "90°", "choices": ANGLES}, "'90°' is none of the options, which are '30°', '45°', '60 degrees'"),
        ({"answer": "90°", "question_type": "multi_choice"}, "none of the options, which are not there"),
        ({"answer": "1.5"}, "a decimal answer needs its precision"),
        ({"answer": "1.5", "precision": "inf"}, "a decimal answer needs its precision"),
        ({"answer": "1.5", "precision": float("nan")}, "a decimal answer needs its precision"),
        ({"answer": "a", "choices": "abc"}, "a list is expected"),
    ],
)
def test_bad_truth(truth: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MathVista().judge("1", truth)


def test_accuracy_is_in_percent() -> None:
    assert measure(MathVista(), [("1", {"answer": "1"}), ("2", {"answer": "1"}), ("", {"answer": "1"})]) == {
        "accuracy": pytest.approx(100 / 3)
    }


@pytest.mark.parametrize("stated", ["{}; {}", "['{}', '{}']"])
def test_a_question_counts_for_each_of_its_skills(stated: str) -> None:
    both = stated.format("algebra", "geometry")
    cases = [("1", {"answer": "1", "skills": both}), ("2", {"answer": "1", "skills": "algebra"})]
    found = measure(MathVista(), [*cases, ("3", {"answer": "1"})])
    assert found == {"accuracy": pytest.approx(100 / 3), "algebra": 50.0, "geometry": 100.0}


@given(st.sampled_from(ANGLES), st.sampled_from(["{}", ' The answer is "{}".', "{} "]))
def test_an_option_named_in_full_is_chosen(option: str, form: str) -> None:
    assert read(form.format(option), answer=option, choices=ANGLES) == option

"""The letter that free text chooses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.evaluation.option_letter import option_letter

PETS = {"A": "cat", "B": "dog", "C": "a large grey elephant", "D": "none of them"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("  B:dog ", "B"),
        ("B B", "B"),
        ("**B**", "B"),
        # A word of its own, and at most three after it.
        ("The best option is B", "B"),
        ("B is it there", "B"),
        ("B it is it is there", None),
        ("AB", None),
        ("b", None),
        # Several letters leave it open, unless one follows "answer is".
        ("A or B", None),
        ("A or B? The answer is B", "B"),
        ("The correct answer is **B** because it barks at all other animals", "B"),
        ("The answer is (B) because it barks at all other animals", "B"),
        ("The answer is a dog", "B"),
        ("The answer is bananas", None),
        ("The answer is I'd say open to all the world", None),
        ("The answer is E because it barks at all other animals", None),
        # The wording of one option, in an answer that is not much longer.
        ("It is a Dog", "B"),
        ("cat and dog", None),
        ("bird", None),
        ("dog " * 100, None),
        # Refusals.
        ("Z", None),
        ("Cannot determine the answer. B", None),
        ("Sorry, I can't help with images of people yet. B", None),
        ("Failed to obtain answer via API B", None),
        ("Failed to obtain answer via API dog", "B"),
        ("", None),
        ("\0", None),
    ],
)
def test_letters_and_wordings(text: str, letter: str | None) -> None:
    assert option_letter(text, PETS) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("答案是B。", "B"),
        ("答案：Ｂ", "B"),
        ("选B", "B"),
        ("应选择B，因为图中是狗", "B"),
        ("B。因为图中是狗", "B"),
        ("正解はBです", "B"),
        ("정답은 B입니다", "B"),
        ("คำตอบคือ B", "B"),
        ("图A显示一只猫", None),
        ("图A显示猫，图B显示狗", None),
        ("图中是USB接口", None),
        ("La respuesta es (B).", "B"),
        ("Die Antwort lautet B.", "B"),
        ("Ответ: B", "B"),
        ("الإجابة هي B.", "B"),
        ("Ответ: В", None),
        ("À toi de voir", None),
    ],
)
def test_other_languages(text: str, letter: str | None) -> None:
    assert option_letter(text, PETS) == letter


def test_wordings_in_other_languages() -> None:
    pets = {"A": "猫", "B": "一只狗"}
    assert option_letter("图中是一只狗", pets) == "B"
    assert option_letter("图中是一只很大的狗", pets) is None


@given(st.text(max_size=60))
def test_only_letters_of_options_are_read(text: str) -> None:
    assert option_letter(text, PETS) in {None, *PETS}


@given(st.sampled_from("ABCD"), st.sampled_from(["{}", "({})", "{}.", "Answer: {}", "答案是{}。", "**{}**"]))
def test_renaming_the_options_renames_the_answer(letter: str, form: str) -> None:
    assert option_letter(form.format(letter), PETS) == letter

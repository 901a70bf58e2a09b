"""MMMU: kinds of questions, lists of answers, disciplines and the official random letters."""

import random
from typing import Any

import pytest

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.protocol import Judgement, Outcome
from vqa_ray.evaluation.protocols.mmmu import Mmmu, MmmuOfficialRandom

PETS = {"choices": "['cat', 'dog']"}


@pytest.mark.parametrize("kind", ["multiple-choice", None])
def test_letters(kind: str | None) -> None:
    truth = {**PETS, "answer": "B", "question_type": kind}
    assert Mmmu().judge("(B) a dog", truth) == Judgement(1.0, "B", "B")
    assert Mmmu().judge("no idea", truth) == Mmmu().judge_absent(truth) == Judgement(0.0, None, "B")


@pytest.mark.parametrize(
    ("answer", "text", "score"),
    [
        ("8.4", "The answer is 8.40 m", 1.0),
        ("['24/7', '3.43']", "the result is 3.429", 1.0),
        (["24/7", "3.43"], "24/7", 1.0),
        (8, "So x = 8", 1.0),
        ("[6, 7]", "it is [6, 7]", 1.0),
        ("[6, 7]", "it is 6", 0.0),
    ],
)
def test_open_questions(answer: Any, text: str, score: float) -> None:
    assert Mmmu().judge(text, {"answer": answer, "question_type": "open"}).score == score


def test_what_an_open_answer_was_read_as_is_stated() -> None:
    judged = Mmmu().judge("The answer is 12 cm", {"answer": ["9"], "question_type": "short-answer"})
    assert judged == Judgement(0.0, "12 cm; 12.0", "9")
    assert Mmmu().judge(" ", {"answer": "9"}).read_as is None


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({**PETS, "answer": "C"}, "'C' is none of the options"),
        ({"answer": None}, "there is no answer"),
        ({"answer": []}, "the list of answers is empty"),
        ({"answer": " "}, "the answer to an open question is empty"),
    ],
)
def test_bad_truth(truth: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Mmmu().judge("A", truth)


def test_disciplines() -> None:
    cases = [("A", {**PETS, "answer": "A", "subject": "Art"}), ("A", {**PETS, "answer": "B", "subject": "Music"})]
    cases += [("A", {**PETS, "answer": "A", "subject": "Math"}), ("B", {**PETS, "answer": "A", "subject": "Cooking"})]
    assert measure(Mmmu(), cases) == {"accuracy": 0.5, "art_and_design": 0.5, "science": 1.0}


def test_random_letters_are_those_of_the_official_seed() -> None:
    cases = [("no idea", {**PETS, "answer": "A"})] * 20
    drawn = random.Random(42)
    expected = [drawn.choice(["A", "B"]) for _ in cases]
    protocol = MmmuOfficialRandom()
    for _ in range(2):
        rows = judge_all(protocol, cases)
        assert list(rows.read_as) == expected
        assert set(rows.outcome) == {Outcome.JUDGED}
    assert protocol.judge_absent(cases[0][1]) == Judgement(0.0, None, "A")

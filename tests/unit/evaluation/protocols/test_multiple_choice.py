"""MMBench, SEED-Bench, AI2D and ScienceQA: letters, rotations and groups."""

from typing import Any

import numpy as np
import pytest

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.protocol import Judgement, Protocol
from vqa_ray.evaluation.protocols.ai2d import Ai2d
from vqa_ray.evaluation.protocols.mmbench import MMBench, MMBenchCircular, question_and_rotation
from vqa_ray.evaluation.protocols.scienceqa import ScienceQa
from vqa_ray.evaluation.protocols.seed_bench import SeedBench

PETS = {"choices": ["cat", "dog", "bird"]}
ALL = (MMBench(), SeedBench(), Ai2d(), ScienceQa())


@pytest.mark.parametrize("protocol", ALL, ids=lambda each: each.name)
def test_right_wrong_unread_and_absent(protocol: Protocol) -> None:
    truth = {**PETS, "answer": "B"}
    assert protocol.judge("B", truth) == Judgement(1.0, "B", "B")
    assert protocol.judge("A", truth) == Judgement(0.0, "A", "B")
    assert protocol.judge("perhaps", truth) == protocol.judge_absent(truth) == Judgement(0.0, None, "B")


@pytest.mark.parametrize("protocol", ALL, ids=lambda each: each.name)
def test_options_may_be_unstated(protocol: Protocol) -> None:
    assert protocol.judge("D", {"answer": "D"}).score == 1


@pytest.mark.parametrize("protocol", [*ALL, MMBenchCircular()], ids=lambda each: each.name)
def test_bad_truth(protocol: Protocol) -> None:
    with pytest.raises(ValueError, match="'D' is none of the options, which are A to C"):
        protocol.judge("A", {**PETS, "answer": "D", "index": 1})
    with pytest.raises(ValueError, match="option B is missing"):
        protocol.judge("A", {"A": "x", "C": "y", "answer": "A", "index": 1})


@pytest.mark.parametrize(
    ("index", "expected"),
    [("241", ("241", 0)), ("1000241", ("241", 1)), ("3000241", ("241", 3)), ("a-1", ("a-1", 0)), ("", ("", 0))],
)
def test_question_and_rotation(index: str, expected: tuple[str, int]) -> None:
    assert question_and_rotation(index) == expected


def test_an_index_of_any_length_is_read() -> None:
    assert question_and_rotation("9" * 5000) == ("9" * 5000, 0)


def test_circular_evaluation_wants_every_rotation() -> None:
    def row(index: int, said: str | None, answer: str) -> tuple[str | None, dict[str, Any]]:
        return said, {"A": "cat", "B": "dog", "answer": answer, "index": index}

    cases = [row(1, "A", "A"), row(1_000_001, "B", "B"), row(2, "A", "A"), row(1_000_002, "A", "B")]
    found = measure(MMBenchCircular(), [*cases, row(3, "B", "B"), row(1_000_003, None, "A")])
    assert found == {"circular_accuracy": 1 / 3, "first_pass_accuracy": 1.0, "accuracy": 4 / 6}


def test_questions_without_rotations_are_noted() -> None:
    cases = [("A", {"answer": "A", "index": index}) for index in (1, 1_000_001, 2)]
    assert MMBenchCircular().notes(judge_all(MMBenchCircular(), cases)) == [
        "1 questions have one order of their options; CircularEval wants every rotation."
    ]
    assert MMBenchCircular().notes(judge_all(MMBenchCircular(), cases[:2])) == []


def test_circular_evaluation_weighs_questions() -> None:
    cases = [("A", {"answer": "A", "index": 1}), ("A", {"answer": "B", "index": 2})]
    rows = judge_all(MMBenchCircular(), cases)
    assert MMBenchCircular().measures(rows, np.array([3.0, 1.0]))["circular_accuracy"] == 0.75
    assert np.isnan(MMBenchCircular().measures(rows, np.zeros(2))["circular_accuracy"])


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is B. BECAUSE: it barks.", "B"),
        ("The answer is B", "B"),
        ("The answer is B!", "B"),
        ("BECAUSE: it barks. The answer is B.", "B"),
        # Twice is unread, as is a letter beyond the options, and D is beyond them.
        ("The answer is B. The answer is B.", None),
        ("The answer is D. It barks.", None),
        ("The answer is D", None),
        ("D", None),
        # Letters as LLaVA writes them.
        ("B", "B"),
        ("B\n", "B"),
        ("B. dog", "B"),
        ("B\nbecause it barks", "B"),
        ("B.", None),
        ("(B)", None),
        ("B. dog. The answer is A.", "A"),
        ("the answer is B.", None),
        ("", None),
    ],
)
def test_scienceqa_patterns(text: str, letter: str | None) -> None:
    assert ScienceQa().judge(text, {**PETS, "answer": 1}).read_as == letter


def test_scienceqa_parts() -> None:
    def row(said: str, subject: str, grade: int, text: bool, image: bool) -> tuple[str, dict[str, Any]]:
        truth = {"answer": 0, "subject": subject, "grade": f"grade{grade}", "has_text": text, "has_image": image}
        return said, PETS | truth

    cases = [
        row("A", "natural science", 1, True, True),
        row("B", "natural science", 7, True, False),
        row("A", "social science", 6, False, True),
        row("A", "language science", 12, False, False),
    ]
    assert measure(ScienceQa(), cases) == {
        **{"accuracy": 75.0, "natural_science": 50.0, "social_science": 100.0, "language_science": 100.0},
        **{"text_context": 50.0, "image_context": 100.0, "no_context": 100.0, "grades_1_6": 100.0, "grades_7_12": 50.0},
    }


def test_scienceqa_without_columns_has_accuracy_alone() -> None:
    assert measure(ScienceQa(), [("A", {"answer": 0})]) == {"accuracy": 100.0}

"""OCRBench: what an answer contains, formulas, and the parts of the final score."""

from typing import Any

import pytest

from tests.helpers.judged_rows import measure
from vqa_ray.evaluation.protocols.ocrbench import OcrBench


@pytest.mark.parametrize(
    ("text", "answers", "score"),
    [
        ("The word is CENTRE.", ["centre"], 1),
        ("cent re", ["centre"], 0),
        ("open\nhours", ["Open Hours "], 1),
        ("40", ["12", "40"], 1),
        ("40", "['12', '40']", 1),
        ("40", "4", 1),
        ("40", 40, 1),
        ("", ["centre"], 0),
        ("公司", ["公司"], 1),
    ],
)
def test_an_answer_contains_the_truth(text: str, answers: Any, score: float) -> None:
    assert OcrBench().judge(text, {"answers": answers}).score == score


@pytest.mark.parametrize(("text", "score"), [("x ^ { 2 }\n+ Y = 1", 1), ("x^{2}+y", 0), ("x^{2}", 0)])
def test_formulas_have_no_spaces_and_keep_their_case(text: str, score: float) -> None:
    assert OcrBench().judge(text, {"answers": ["x ^ {2} + Y"], "dataset": "HME100k"}).score == score


@pytest.mark.parametrize("answers", [None, [], "", [""], ["centre", " "]])
def test_bad_truth(answers: Any) -> None:
    with pytest.raises(ValueError, match=r"there is no answer|the list of answers is empty|an answer is empty"):
        OcrBench().judge("centre", {"answers": answers})


def test_the_final_score_counts_right_answers() -> None:
    kinds = ["Regular Text Recognition", "Digit String Recognition", "Doc-oriented VQA", "Doc-oriented VQA"]
    cases = [("a", {"answers": [right], "type": kind}) for kind, right in zip(kinds, "aaab", strict=True)]
    assert measure(OcrBench(), cases) == {"final_score": 3, "accuracy": 0.75, "text_recognition": 2, "document_vqa": 1}


def test_an_empty_answer_is_unread() -> None:
    truth = {"answers": ["a"]}
    assert OcrBench().judge(" ", truth).read_as is None
    assert OcrBench().judge_absent(truth).truth == "a"

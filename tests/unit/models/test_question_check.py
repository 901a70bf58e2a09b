"""Questions of a command that would fail on every row are refused before any work."""

from __future__ import annotations

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.models.question_check import check_questions
from vqa_ray.models.registry import family_of


@pytest.mark.parametrize(
    ("kind", "question", "message"),
    [
        ("florence2", "<OD> dogs", r"^--question '<OD> dogs': model m: florence2: the task <OD> stands alone"),
        ("florence2", "<REGION_TO_OCR>", r"florence2: the task <REGION_TO_OCR> needs a text or a region"),
        ("kosmos-2", "is </image> red?", r"^--question 'is </image> red\?': model m: kosmos-2: </image> is a token"),
        ("fuyu", "|SPEAKER|", r"fuyu: \|SPEAKER\| is a token of its own, which no question may hold$"),
    ],
)
def test_what_a_family_cannot_be_asked_is_refused(kind: str, question: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_questions(("what is this?", question), family_of("m", {"model_type": kind}), "model m")


@pytest.mark.parametrize("kind", ["florence2", "kosmos-2", "fuyu", "llava"])
def test_other_questions_pass(kind: str) -> None:
    asked = ("what is this?", "<OD>", "<CAPTION_TO_PHRASE_GROUNDING> a dog", "<grounding> An image of")
    check_questions(asked, family_of("m", {"model_type": kind}), "model m")

"""The fake model keeps the promises of the protocol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.errors import RowError
from vqa_ray.models.fake.model import FAILURE, FakeModel
from vqa_ray.models.fake.sizes import SIDE, STEP, FakeTransform

RED = np.full((8, 16, 3), (220, 30, 30), np.uint8)
SIDES = st.integers(1, 5000)


@given(SIDES, SIDES)
def test_target_size_fits_or_is_refused(height: int, width: int) -> None:
    if max(height, width) > 20 * min(height, width):
        with pytest.raises(RowError, match="image_aspect_ratio"):
            FakeTransform().target_size(height, width)
        return
    target = FakeTransform().target_size(height, width)
    assert max(target) == SIDE
    assert all(side >= STEP and side % STEP == 0 for side in target)
    assert (target[0] >= target[1]) == (height >= width) or target[0] == target[1]


def test_answers_follow_from_colour_and_question() -> None:
    (first, second) = FakeModel().answer([RED], [["what colour is it?", "Is there a dog?"]], top_k=3)[0]
    assert first.answers[0][0] == "red"
    assert len(first.answers) == 3
    assert [score for _, score in first.answers] == sorted((score for _, score in first.answers), reverse=True)
    assert {answer for answer, _ in second.answers} == {"yes", "no"}
    assert sum(score for _, score in second.answers) == pytest.approx(1.0)
    assert FakeModel().answer([RED], [["what colour is it?"]], 3)[0][0] == first


def test_scores_agree_with_answers() -> None:
    model = FakeModel()
    ((scores,),) = model.score([RED], [["what colour is it?"]], [[("blue", "red")]])
    answers = dict(model.answer([RED], [["what colour is it?"]], 8)[0][0].answers)
    assert scores.scores == (answers["blue"], answers["red"])
    assert model.known_choices(["anything"]) == [True]


def test_long_question_is_told_and_failure_raises() -> None:
    assert "cut to 1000" in (FakeModel().answer([RED], [["why " * 1000]], 1)[0][0].warning or "")
    with pytest.raises(ValueError, match=FAILURE):
        FakeModel().answer([RED], [[FAILURE]], 1)

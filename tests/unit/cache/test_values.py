"""What comes out of a cache is what the model returned."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.cache.values import from_json, is_sound, to_json
from vqa_ray.types import Answer, Box, ChoiceScores, Usage, WrittenObject

NUMBER = st.floats(allow_nan=False, allow_infinity=False)
WARNING = st.none() | st.text(min_size=1)
ANSWERS = st.builds(
    Answer,
    st.lists(st.tuples(st.text(), NUMBER), min_size=1, max_size=3).map(tuple),
    WARNING,
    st.lists(st.builds(Box, st.text(), NUMBER, NUMBER, NUMBER, NUMBER), max_size=2).map(tuple),
    st.sampled_from([None, "stop", "length"]),
)
CHOICES = st.builds(ChoiceScores, st.lists(NUMBER, max_size=4).map(tuple), WARNING)
OBJECTS = st.builds(
    WrittenObject,
    st.text(),
    st.lists(st.binary(), max_size=4).map(tuple),
    st.none() | st.lists(NUMBER, max_size=4).map(tuple),
    st.sampled_from(["stop", "length"]),
    WARNING,
)


@given(ANSWERS | CHOICES | OBJECTS)
def test_a_result_survives(result: Answer | ChoiceScores | WrittenObject) -> None:
    assert is_sound(result)
    assert from_json(to_json(result)) == result


def test_scores_of_numpy_survive_to_the_last_bit() -> None:
    score = np.float32(0.1)
    assert from_json(to_json(ChoiceScores((score,)))) == ChoiceScores((float(score),))


def test_an_answer_that_is_found_takes_nothing() -> None:
    paid, free = (ChoiceScores((0.5,), usage=Usage(1, 700, 3, cost)) for cost in (0.02, None))
    assert from_json(to_json(paid)) == ChoiceScores((0.5,), usage=Usage(cost=0.0))
    assert from_json(to_json(free)) == ChoiceScores((0.5,), usage=Usage())


def test_an_unscored_answer_survives() -> None:
    result = from_json(to_json(Answer((("red", math.nan),), "no scores", is_unscored=True)))
    assert isinstance(result, Answer)
    assert result.is_unscored
    assert math.isnan(result.answers[0][1])


@pytest.mark.parametrize("result", [Answer(()), Answer((("red", math.nan),)), ChoiceScores((0.5, math.nan))])
def test_an_error_of_the_row_is_not_kept(result: Answer | ChoiceScores) -> None:
    assert not is_sound(result)

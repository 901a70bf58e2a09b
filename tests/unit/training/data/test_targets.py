from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.labelled import index_table, labelled, weighted
from vqa_ray.errors import RequestError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.targets import Targets, auxiliary_classes, auxiliary_targets, caption_targets, soft_targets

VOCABULARY = AnswerVocabulary(["no", "yes", "2", "t-shirt", "a"])


def of(targets: Targets, row: int) -> dict[int, float]:
    part = slice(targets.offsets[row], targets.offsets[row + 1])
    return {
        int(at): round(float(weight), 6) for at, weight in zip(targets.ids[part], targets.weights[part], strict=True)
    }


@pytest.mark.parametrize(("count", "weight"), [(1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (5, 1.0), (9, 1.0), (10, 1.0)])
def test_the_recipe_for_ten_annotators(count: int, weight: float) -> None:
    targets = soft_targets(labelled(["yes"] * count + ["sky"] * (10 - count)), VOCABULARY)
    assert of(targets, 0) == {1: weight}
    assert targets.weights[0] == np.float32(weight)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["yes"], {1: 1.0}),
        (["yes", "yes"], {1: 1.0}),
        (["yes", "no", "no"], {0: 1.0, 1: 1.0}),
        (["yes", "no", "no", "no", "no"], {0: 1.0, 1: 0.6}),
        (["Two.", "2", "the two"], {2: 1.0}),
        (["T-shirt"], {3: 1.0}),
        (["A"], {4: 1.0}),
        (["sky"], {}),
        ([], {}),
    ],
)
def test_other_numbers_of_annotators_and_other_spellings(answers: list[str], expected: dict[int, float]) -> None:
    assert of(soft_targets(labelled(answers), VOCABULARY), 0) == expected


def test_given_weights_are_taken_as_they_are() -> None:
    targets = soft_targets(weighted({"yes": 0.3, "NO": 0.0, "sky": 1.0}, {"2": 0.2, "Two": 0.7}), VOCABULARY)
    assert (of(targets, 0), of(targets, 1)) == ({1: 0.3}, {2: 0.7})


def test_rows_without_a_known_answer_are_counted() -> None:
    targets = soft_targets(labelled(["yes"], ["sky"], [], ["no", "sky"]), VOCABULARY)
    assert targets.trainable.tolist() == [True, False, False, True]
    assert (len(targets), targets.without) == (4, 2)


answers_of_rows = st.lists(st.lists(st.sampled_from(["yes", "no", "2", "sky", "Two", "a"]), max_size=10), min_size=1)


@settings(deadline=None)
@given(answers_of_rows, st.randoms(use_true_random=False))
def test_order_of_annotators_and_of_rows_does_not_matter(answers: list[list[str]], random: object) -> None:
    whole = soft_targets(labelled(*answers), VOCABULARY)
    assert ((whole.weights > 0) & (whole.weights <= 1)).all()
    shuffled = soft_targets(labelled(*(sorted(given) for given in answers)), VOCABULARY)
    for row, given_answers in enumerate(answers):
        assert of(whole, row) == of(shuffled, row) == of(soft_targets(labelled(given_answers), VOCABULARY), 0)


@settings(deadline=None)
@given(answers_of_rows, st.data())
def test_taken_rows_keep_their_targets(answers: list[list[str]], data: st.DataObject) -> None:
    whole = soft_targets(labelled(*answers), VOCABULARY)
    chosen = data.draw(st.lists(st.integers(0, len(answers) - 1)))
    part = whole.take(np.array(chosen, np.int64))
    assert [of(part, at) for at in range(len(part))] == [of(whole, row) for row in chosen]


def test_auxiliary_classes_are_alphabetical_and_unknown_ones_have_none() -> None:
    table = index_table({"auxiliary": [kind, "red"]} for kind in ("shoe", "hat", None))
    rows = LabelledRows.from_tables([table], ["kind", "colour"])
    known = {"kind": ("hat", "shoe"), "colour": ("blue", "green")}
    assert auxiliary_targets(rows, known).tolist() == [[1, -1], [0, -1], [-1, -1]]
    assert auxiliary_targets(labelled([], []), {}).shape == (2, 0)
    with pytest.raises(RequestError, match="auxiliary column 'colour' has only 'red'; at least two classes are needed"):
        auxiliary_classes(rows)
    one = LabelledRows.from_tables([table], ["kind"])
    assert auxiliary_classes(one) == {"kind": ("hat", "shoe")}


def test_rows_with_a_caption_can_be_trained_on() -> None:
    rows = labelled(["a dog", "a pup"], [], ["a cat"])
    targets = caption_targets(rows)
    assert targets.trainable.tolist() == [True, False, True]
    assert targets.take(np.array([2, 0])).ids.tolist() == [0, 0]

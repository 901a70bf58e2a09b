from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.labelled import equal, index_table, labelled, weighted
from vqa_ray.errors import RequestError
from vqa_ray.training.data.labelled_rows import LabelledRows

ROWS: list[dict[str, Any]] = [
    {"source_key": 5, "image_key": 2, "answers": ["yes", "Yes.", "no"], "auxiliary": ["shoe", None]},
    {"source_key": 1 << 32, "image_key": 2, "answers": ["12"], "auxiliary": [None, "red"]},
    {"source_key": 3, "image_key": 7, "answers": ["a dog"], "answer_type": "animal", "auxiliary": ["hat", "red"]},
    {"source_key": 4, "image_key": 8, "auxiliary": ["hat", "blue"]},
    {"source_key": 6, "status": "error", "error_code": "row_malformed", "error_message": "a.csv line 9: not CSV"},
]


def rows() -> LabelledRows:
    return LabelledRows.from_tables([index_table(ROWS[2:]), index_table(ROWS[:2])], ["kind", "colour"])


def test_tables_in_any_order_become_rows_sorted_by_key() -> None:
    found = rows()
    assert found.keys.tolist() == [3, 4, 5, 1 << 32]
    assert found.image_keys.tolist() == [7, 8, 2, 2]
    assert found.answers.to_pylist() == [["a dog"], [], ["yes", "Yes.", "no"], ["12"]]
    assert found.answer_types.to_pylist() == ["animal", "other", "yes/no", "number"]
    assert {name: column.to_pylist() for name, column in found.auxiliary.items()} == {
        "kind": ["hat", "hat", "shoe", None],
        "colour": ["red", "blue", None, "red"],
    }
    assert (found.failed, found.failure, found.unanswered) == (1, "a.csv line 9: not CSV", 1)
    assert equal(LabelledRows.from_tables([index_table(ROWS)], ["kind", "colour"]), found)


@pytest.mark.parametrize("weights", [False, True])
def test_what_is_saved_is_loaded_again(tmp_path: Path, weights: bool) -> None:
    given_rows = weighted({"a cat": 0.3, "dog": 1.0}, {}) if weights else rows()
    given_rows.save(str(tmp_path / "index.parquet"))
    loaded = LabelledRows.load(str(tmp_path / "index.parquet"))
    assert equal(loaded, given_rows)
    assert (loaded.failed, loaded.failure) == (given_rows.failed, given_rows.failure)


def test_no_rows_are_saved_and_loaded(tmp_path: Path) -> None:
    _, none = rows().split(0.0, 0)
    none.save(str(tmp_path / "index.parquet"))
    assert len(LabelledRows.load(str(tmp_path / "index.parquet"))) == 0


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(lambda images: len(set(images)) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 2**40),
)
def test_no_image_is_on_both_sides_and_no_row_is_lost(images: list[int], fraction: float, seed: int) -> None:
    whole = LabelledRows.from_tables([index_table({"image_key": image} for image in images)])
    training, validation = whole.split(fraction, seed)
    assert not set(training.image_keys.tolist()) & set(validation.image_keys.tolist())
    assert sorted([*training.keys.tolist(), *validation.keys.tolist()]) == whole.keys.tolist()
    assert 0 < len(validation) < len(whole)
    assert abs(len(set(validation.image_keys.tolist())) - fraction * len(set(images))) <= 1
    again = whole.split(fraction, seed)
    assert np.array_equal(again[1].keys, validation.keys)


def test_another_seed_splits_otherwise() -> None:
    whole = labelled(*([["yes"]] * 50))
    assert whole.split(0.5, 1)[0].keys.tolist() != whole.split(0.5, 2)[0].keys.tolist()


def test_one_image_cannot_be_split() -> None:
    whole = LabelledRows.from_tables([index_table([{"image_key": 1}, {"image_key": 1}])])
    assert len(whole.split(0.0, 0)[1]) == 0
    with pytest.raises(RequestError, match="the 2 rows show 1 image, too few to set images aside for validation"):
        whole.split(0.1, 0)


def test_an_input_without_a_readable_row_is_refused() -> None:
    with pytest.raises(RequestError, match="the input has no rows to learn from"):
        LabelledRows.from_tables([index_table([])])
    with pytest.raises(RequestError, match=r"^none of the 1 rows can be read; the first says: a.csv line 9: not CSV$"):
        LabelledRows.from_tables([index_table(ROWS[4:])])


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_weights_outside_0_to_1_are_refused_by_row_and_value(weight: float) -> None:
    bad = {"source_key": (3 << 32) + 17, "answers": ["a", "b"], "weights": [1.0, weight], "question": "how\nmany?"}
    good = {"source_key": 1, "answers": ["b"], "weights": [0.0]}
    message = rf"^row 17 of shard 3 \('how many\?'\): a label has the weight {weight}; allowed is 0 to 1$"
    with pytest.raises(RequestError, match=message):
        LabelledRows.from_tables([index_table([bad, good])])

"""The sentence on how sure an accuracy is."""

from __future__ import annotations

import pytest

from vqa_ray.training.accuracy_interval import interval_note


@pytest.mark.parametrize(
    ("mean", "rows", "wanted"),
    [
        (1.0, 1, "anls 1.0000: 95 % interval 0.207 to 1.000 over 1 row; 1 row says little"),
        (0.5, 99, "anls 0.5000: 95 % interval 0.403 to 0.597 over 99 rows; 99 rows say little"),
        (0.5, 1_204, "anls 0.5000: 95 % interval 0.472 to 0.528 over 1,204 rows"),
    ],
)
def test_a_count_agrees_with_its_noun_and_few_rows_are_told(mean: float, rows: int, wanted: str) -> None:
    assert interval_note("anls", mean, rows) == wanted

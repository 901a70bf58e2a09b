"""Counts in words."""

from __future__ import annotations

from vqa_ray.counted import counted


def test_one_is_singular() -> None:
    assert [counted(count, "row") for count in (0, 1, 2, 1_204)] == ["0 rows", "1 row", "2 rows", "1,204 rows"]

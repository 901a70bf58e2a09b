"""Read tasks end early: between two tables, and say whether they left rows unread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from vqa_ray.pipelines.meter import _ReadUntilSpent
from vqa_ray.pipelines.reading import _ReadUntilStopped


class Noted:
    """A reading that is stopped once a number of tables have been asked about."""

    def __init__(self, stops_after: int) -> None:
        self._left = stops_after
        self.was_cut = False

    def is_stopped(self) -> bool:
        self._left -= 1
        return self._left < 0

    is_spent = is_stopped

    def stop(self) -> None:
        self._left = 0

    def cut(self) -> None:
        self.was_cut = True


def tables() -> Iterator[pa.Table]:
    for number in range(3):
        yield pa.table({"row": [number]})


# The task asks once before its first table.
@pytest.mark.parametrize(("asked", "read", "is_cut"), [(0, 0, True), (1, 0, True), (3, 2, True), (4, 3, False)])
def test_a_task_that_is_stopped_leaves_the_rest_and_says_so(asked: int, read: int, is_cut: bool) -> None:
    reading: Any = Noted(asked)
    assert len(list(_ReadUntilStopped(tables, reading)())) == read
    assert reading.was_cut == is_cut


@pytest.mark.parametrize(("asked", "read"), [(0, 0), (2, 2), (3, 3)])
def test_a_task_ends_when_the_budget_is_spent(asked: int, read: int) -> None:
    run: Any = Noted(asked)
    assert len(list(_ReadUntilSpent(tables, run)())) == read

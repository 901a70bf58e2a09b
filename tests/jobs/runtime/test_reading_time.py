"""When a run reads no more rows."""

from __future__ import annotations

from typing import Any

import pytest

from vqa_ray.jobs.runtime import reading_time
from vqa_ray.jobs.runtime.reading_time import TimeLimit
from vqa_ray.stages.row_report import ReturnedRows


class Reading:
    """A reading that notes that it is stopped."""

    is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True


def test_the_time_of_a_sample_begins_with_its_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 104.0, 106.0])
    monkeypatch.setattr(reading_time, "_now", times.__next__)
    reading: Any = Reading()
    limit = TimeLimit(reading, 5, from_first_row=True)
    limit.look(ReturnedRows())
    limit.look(ReturnedRows(1, 0))
    assert not reading.is_stopped
    limit.look(ReturnedRows(2, 0))
    assert reading.is_stopped

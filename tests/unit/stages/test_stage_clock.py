"""The time that a stage works and waits."""

from __future__ import annotations

import pytest

from vqa_ray.stages.stage_clock import StageClock, StageTimes


def test_busy_and_idle_time_begin_after_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 50.0, 51.0, 53.0, 60.0, 61.0]).__next__
    monkeypatch.setattr("vqa_ray.stages.stage_clock._now", now)
    clock = StageClock()
    with clock.call(8):
        pass
    assert clock.times == StageTimes()
    with clock.call(8):
        pass
    assert clock.times == StageTimes(8, 2.0, 1.0)
    # Calls at the same time: the time with any under way counts once.
    with clock.call(8), clock.call(4):
        pass
    assert clock.times == StageTimes(20, 3.0, 8.0)

"""A training process that dies while Ray Train hands it its function: Ray Train gives up, the command starts again."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray.train import ControllerError

from vqa_ray.pipelines import training


class Started:
    """Stands for `Trainer`: its first runs fail.

    Attributes:
        allowed: `max_failures` of each run.
    """

    def __init__(self, *failures: Exception) -> None:
        self._failures, self.allowed = list(failures), list[int]()

    def __call__(self, config: object, streams: object, max_failures: int) -> Started:
        self.allowed.append(max_failures)
        return self

    def fit(self) -> None:
        if self._failures:
            raise ControllerError(self._failures.pop(0))


def fit(monkeypatch: pytest.MonkeyPatch, started: Started, max_failures: int) -> None:
    monkeypatch.setattr(training, "_trainer", started)
    nothing: Any = None
    training.fit(nothing, nothing, max_failures)


def test_it_starts_again_as_often_as_a_process_may_die(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(*[ray.exceptions.ActorDiedError()] * 2)
    fit(monkeypatch, started, 3)
    assert started.allowed == [3, 2, 1]
    started = Started(*[ray.exceptions.ActorDiedError()] * 3)
    with pytest.raises(ControllerError):
        fit(monkeypatch, started, 2)
    assert started.allowed == [2, 1, 0]


def test_what_is_no_death_of_a_process_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(ValueError("no such configuration"))
    with pytest.raises(ControllerError, match="no such configuration"):
        fit(monkeypatch, started, 3)
    assert started.allowed == [3]

"""A training process that dies while Ray Train hands it its function: Ray Train gives up, the command starts again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import ray
from ray.train import ControllerError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from vqa_ray.pipelines import key_value, training
from vqa_ray.pipelines.training_failures import TrainingFailures


class Started:
    """Stands for `Trainer`: its first runs fail.

    Attributes:
        allowed: `max_failures` of each run.
        deaths: of processes that train, before the run fails.
    """

    def __init__(self, *failures: Exception, deaths: Sequence[Exception] = ()) -> None:
        self._failures, self.allowed, self.deaths = list(failures), list[int](), deaths
        self._counted: TrainingFailures | None = None

    def __call__(self, config: object, streams: object, max_failures: int, failures: TrainingFailures) -> Started:
        self.allowed.append(max_failures)
        self._counted = failures
        return self

    def fit(self) -> None:
        assert self._counted is not None
        if self._failures:
            for death in self.deaths:
                self._counted.after_exception(None, {0: RuntimeError("collateral"), 1: death})
            raise ControllerError(self._failures.pop(0))


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The store of Ray's head; a test that has ended well leaves it empty."""
    kept: dict[str, bytes] = {}

    def values(prefix: str) -> list[bytes]:
        return [value for key, value in kept.items() if key.startswith(prefix)]

    def delete(prefix: str) -> None:
        for key in [key for key in kept if key.startswith(prefix)]:
            del kept[key]

    monkeypatch.setattr(key_value, "put", kept.__setitem__)
    monkeypatch.setattr(key_value, "values", values)
    monkeypatch.setattr(key_value, "delete", delete)
    return kept


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


def test_deaths_while_it_trains_count_too(monkeypatch: pytest.MonkeyPatch, store: dict[str, bytes]) -> None:
    dead, taken = ray.exceptions.ActorDiedError(), ray.exceptions.ActorDiedError()
    monkeypatch.setattr(taken, "_preempted", True)
    started = Started(dead, dead, deaths=[dead])
    fit(monkeypatch, started, 4)
    assert started.allowed == [4, 2, 0]
    started = Started(dead, dead, deaths=[dead])
    with pytest.raises(ControllerError):
        fit(monkeypatch, started, 3)
    assert started.allowed == [3, 1]
    # Ray counts nodes that are taken away by themselves.
    started = Started(dead, deaths=[WorkerHealthCheckFailedError("no answer", taken)])
    fit(monkeypatch, started, 3)
    assert started.allowed == [3, 2]
    assert not store


def test_what_is_no_death_of_a_process_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(ValueError("no such configuration"))
    with pytest.raises(ControllerError, match="no such configuration"):
        fit(monkeypatch, started, 3)
    assert started.allowed == [3]

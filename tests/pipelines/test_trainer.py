"""What a training starts: as few processes as it can do with."""

from __future__ import annotations

import os

import pytest
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from vqa_ray.pipelines import trainer, training
from vqa_ray.pipelines.local_execution import Helpers, no_helper_actors

WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
INTERVAL = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"


def kinds_of_callbacks() -> list[type]:
    return [type(each) for each in trainer.Trainer(training.train_worker)._create_default_callbacks()]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str | None]]:
    """`WATCHER` and `INTERVAL` in the environment of each training, none of which trains."""
    found: list[tuple[str | None, str | None]] = []

    def fit(_: object) -> None:
        found.append((os.environ.get(WATCHER), os.environ.get(INTERVAL)))

    monkeypatch.setattr(TorchTrainer, "fit", fit)
    for name in (WATCHER, INTERVAL):
        monkeypatch.delenv(name, raising=False)
    # As in a process that has joined a cluster.
    monkeypatch.setattr(Helpers, "are_wanted", True)
    return found


def test_a_ray_of_its_own_starts_no_actors_that_have_nothing_to_do(
    settings: list[tuple[str | None, str | None]],
) -> None:
    trainer.Trainer(training.train_worker).fit()
    joined = kinds_of_callbacks()
    with no_helper_actors():
        trainer.Trainer(training.train_worker).fit()
        alone = kinds_of_callbacks()
    assert settings == [(None, "0.5"), ("0", "0.5")]
    assert WATCHER not in os.environ
    assert joined.count(PlacementGroupCleanerCallback) == 1
    assert PlacementGroupCleanerCallback not in alone
    # The actor of the trainer's own data sets, of which there are none, starts nowhere.
    assert joined.count(trainer.NoDatasets) == alone.count(trainer.NoDatasets) == 1
    assert DatasetsCallback not in {*joined, *alone}


def test_what_a_user_has_set_stays(
    settings: list[tuple[str | None, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INTERVAL, "7")
    trainer.Trainer(training.train_worker).fit()
    assert settings == [(None, "7")]
    assert os.environ[INTERVAL] == "7"

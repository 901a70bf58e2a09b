"""Ray Train's trainer, without the processes that our trainings have no use for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from vqa_ray.pipelines.local_execution import Helpers

# How often Ray Train asks its workers for news; its own default is 2. Until then a report waits, and so does the end.
_POLL = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}
# Ray Train's watch over machines that are taken back, an actor.
_NO_WATCH = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


class NoDatasets(DatasetsCallback):
    """Hands on Ray Data's settings, as its base does, without the actor that deals out a trainer's own data sets."""

    def before_init_train_context(self, workers: object) -> dict[str, list[Any]]:
        """Give the workers no data sets; called by Ray Train."""
        return {}


class Trainer(TorchTrainer):
    """Ray's trainer, without what our trainings have no use for.

    It leaves Ctrl-C to the command: Ray's own handler waits for the controller, and exits with 0. On a Ray of the
    command's own, which ends with the command, nobody needs to clean up after a controller that has died.
    """

    def _register_sigint_handler(self, controller: object) -> None:
        """Register none."""

    def _create_default_callbacks(self) -> list[Any]:
        """Leave out callbacks whose actors, a process each, would do nothing."""
        kept = []
        # Checked against the class of Ray Train's first version.
        for callback in super()._create_default_callbacks():  # type: ignore[misc]
            if isinstance(callback, DatasetsCallback):
                callback = NoDatasets(self.train_run_context, {})  # type: ignore[attr-defined]
            if Helpers.are_wanted or not isinstance(callback, PlacementGroupCleanerCallback):
                kept.append(callback)
        return kept

    def fit(self) -> Any:
        """Train to the end; see `TorchTrainer`."""
        with _environment(_POLL if Helpers.are_wanted else _POLL | _NO_WATCH):
            return super().fit()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set what is not set; Ray Train hands it on to its controller, which it starts in the block."""
    new = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]

"""Run Ray Data on a single machine without the helper actors that it starts for clusters.

Before its first task, Ray Data starts three actors: the first gathers statistics for the dashboard, the second reserves
resources among the data sets of a cluster, and the third tracks the node of each model actor. Each is a process that
imports Ray Data, and no task is scheduled before the second has answered. On one machine without a dashboard nobody
reads the statistics, and the answers of the other two are known. docs/decisions/0012 measures their cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import ray
from ray.data import ExecutionResources
from ray.data._internal import stats
from ray.data._internal.cluster_autoscaler import ClusterAutoscaler
from ray.data._internal.execution import streaming_executor
from ray.data._internal.execution.operators import actor_pool_map_operator

from vqa_ray.pipelines.replaced import replaced


class FixedResources(ClusterAutoscaler):
    """The resources of a machine that does not grow."""

    def __init__(self) -> None:
        self._total: ExecutionResources = ExecutionResources.from_resource_dict(ray.cluster_resources())  # type: ignore[no-untyped-call]

    def try_trigger_scaling(self) -> None:
        """Do nothing; called by Ray Data before every scheduling decision."""

    def on_executor_shutdown(self) -> None:
        """Do nothing; called by Ray Data at the end."""

    def get_total_resources(self) -> ExecutionResources:
        """Return all resources of the machine."""
        return self._total


class OneNode:
    """A substitute for the actor that tracks the node of each model actor."""

    class _Method:
        def remote(self, *_: object) -> None:
            """Discard a message to the actor."""

    @property
    def update_actor_location(self) -> OneNode._Method:
        """Return a method that discards a location."""
        return OneNode._Method()


class Helpers:
    """Which helper actors this process starts.

    Attributes:
        are_wanted: False within `no_helper_actors`.
    """

    are_wanted: ClassVar[bool] = True


@contextmanager
def no_helper_actors() -> Iterator[None]:
    """Let Ray Data run without its three helper actors until the block ends, and our trainings without Ray Train's.

    Only for a local Ray: in a cluster, they balance and observe several data sets.
    """
    ignore = staticmethod(_discard)
    with (
        replaced(Helpers, are_wanted=False),
        replaced(
            stats._StatsManager,
            register_dataset_to_stats_actor=ignore,
            update_execution_metrics=ignore,
            update_iteration_metrics=ignore,
        ),
        replaced(streaming_executor, create_cluster_autoscaler=_fixed_resources),
        replaced(
            actor_pool_map_operator,
            get_or_create_actor_location_tracker=OneNode,
            get_actor_locations=_no_locations,
        ),
    ):
        yield


def _discard(*_: Any, **__: Any) -> None:
    """Discard a message to the statistics actor."""


def _fixed_resources(*_: Any, **__: Any) -> FixedResources:
    return FixedResources()


def _no_locations(_: object) -> dict[str, str]:
    """Return no location: Ray Data then uses the one that it learnt when the actor started."""
    return {}

"""Ray Data's settings for one run, as a copy: a caller's own settings stay as they are."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar

from ray import cloudpickle
from ray.data import DataContext, ExecutionResources
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data.checkpoint import CheckpointConfig

from vqa_ray.pipelines.resources import ResourcePlan

if TYPE_CHECKING:
    from ray.data._internal.stats import DatasetStatsSummary

# Transient errors of storage: the task is tried again.
_PASSING_ERRORS = ("OSError", "ConnectionError", "Timeout", "ClientError", "ClientPayloadError", "IncompleteRead")
_RETRIES = 3
_PAUSE_S = 0.02

# Workers import the library alone: classes and functions of the pipelines travel to them by value, as those of a script
# do. Every execution has a `run_context`, so this file is imported before anything travels.
cloudpickle.register_pickle_by_value(sys.modules[__package__])  # type: ignore[no-untyped-call]


class SchedulerThrottle(ExecutionCallback):
    """A short pause after each step of Ray Data's scheduler, for a stream whose reader is slower than its tasks.

    The scheduler waits until a task has output. When every task has output and backpressure holds all of it back, the
    scheduler does not wait at all and takes most of a core.
    """

    def on_execution_step(self, executor: object) -> None:
        """Pause; called by Ray Data after each step."""
        time.sleep(_PAUSE_S)


class ExecutionStats(ExecutionCallback):
    """The statistics of the last successful execution of this process.

    Ray Data's own collection starts a process at the end of the execution, which takes a second.
    """

    last: ClassVar[DatasetStatsSummary | None] = None

    def after_execution_succeeds(self, executor: Any) -> None:
        """Keep the statistics; called by Ray Data."""
        ExecutionStats.last = executor.get_stats().to_summary()


def run_context(
    resources: ResourcePlan, checkpoint: CheckpointConfig | None, no_progress_timeout_s: float
) -> DataContext:
    """Return the settings of one run.

    Args:
        resources: gives block and buffer sizes.
        checkpoint: of the rows already written; None for a run that cannot be resumed.
        no_progress_timeout_s: the run fails after so many seconds in which no block moved.
    """
    context = DataContext.get_current().copy()
    context.target_max_block_size = resources.block_bytes
    context.target_min_block_size = min(context.target_min_block_size, resources.block_bytes)
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        object_store_memory=resources.buffer_bytes
    )
    context.execution_no_progress_timeout_s = no_progress_timeout_s
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.enable_rich_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    # A model that fails to load fails again on a second try.
    context.max_consecutive_actor_init_deaths = 0
    context.raise_original_map_exception = True
    context.retried_map_errors = list(_PASSING_ERRORS)
    context.max_map_retries = _RETRIES
    context.checkpoint_config = checkpoint
    return context

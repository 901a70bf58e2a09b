"""Rows in an order that was planned: one read task per part of the plan."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ray
from ray.data import DataContext, Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from pipelines.placement import READ_CPUS, Placement
from vqa_ray.stages.read_planned import ReadPlanned


class PlannedSource(Datasource):
    """The read tasks of a plan, in its order.

    Args:
        tasks: see `vqa_ray.training.plan`.
    """

    def __init__(self, tasks: Sequence[ReadPlanned]) -> None:
        super().__init__()
        self._tasks = [ReadTask(task, BlockMetadata(task.rows, task.size_bytes, None)) for task in tasks]

    def get_name(self) -> str:
        """The name in plans and statistics."""
        return "Planned"

    def estimate_inmemory_data_size(self) -> int | None:
        """Encoded bytes of all tasks."""
        return sum(task.metadata.size_bytes or 0 for task in self._tasks)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """The tasks as they were planned, whatever the parallelism."""
        return self._tasks


def planned(tasks: Sequence[ReadPlanned], placement: Placement) -> Dataset:
    """READ rows with the fields of training, in the order of `tasks` when the context preserves it."""
    blocks = max(len(tasks), math.ceil(sum(task.rows for task in tasks) / placement.rows_per_block))
    return ray.data.read_datasource(PlannedSource(tasks), num_cpus=READ_CPUS, override_num_blocks=max(1, blocks))

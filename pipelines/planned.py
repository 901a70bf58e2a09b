"""Rows in an order that was planned: one read task per part of the plan."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ray
from ray.data import Dataset, TaskPoolStrategy
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from vqa_ray.pipelines.datasource import FixedTasks
from vqa_ray.pipelines.resources import READ_CPUS, ResourcePlan
from vqa_ray.training.stages.read_scheduled import ReadPlanned


def read_scheduled(tasks: Sequence[ReadPlanned], placement: ResourcePlan) -> Dataset:
    """READ rows with the fields of training, in the order of `tasks` when the context preserves it."""
    source = FixedTasks("Planned", [ReadTask(task, BlockMetadata(task.rows, task.size_bytes, None)) for task in tasks])
    blocks = max(len(tasks), math.ceil(source.estimated_rows() / placement.rows_per_block))
    readers = TaskPoolStrategy(size=max(1, min(placement.max_readers, len(tasks))))
    return ray.data.read_datasource(source, num_cpus=READ_CPUS, compute=readers, override_num_blocks=max(1, blocks))

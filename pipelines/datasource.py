"""Ray Data's source of rows: a fixed list of tasks, one per shard or per part of a training schedule."""

from __future__ import annotations

from collections.abc import Sequence

from ray.data import DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from vqa_ray.pipelines.meter import until_spent
from vqa_ray.pipelines.reading import until_stopped
from vqa_ray.stages.read import ReadShard
from vqa_ray.training.stages.read_scheduled import ReadScheduled

# Bytes of an input row in a shard of unknown length: an encoded image, or a line with a reference to one.
_IMAGE_BYTES = 50_000
_LINE_BYTES = 150
_LINE_FORMATS = ("jsonl", "csv")


class FixedTasks(Datasource):
    """Read tasks that stay as they are, whatever the parallelism.

    Args:
        name: in plans and statistics.
        tasks: in the order of their rows.
    """

    def __init__(self, name: str, tasks: Sequence[ReadTask]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._name, self.tasks = name, list(tasks)

    def get_name(self) -> str:
        """Return the name in plans and statistics."""
        return self._name

    def estimate_inmemory_data_size(self) -> int | None:
        """Return the encoded bytes of all tasks."""
        return sum(task.metadata.size_bytes or 0 for task in self.tasks)

    def estimated_rows(self) -> int:
        """Return the rows of all tasks, estimated from their size where they are unknown."""
        return sum(task.metadata.num_rows or 0 for task in self.tasks)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """Return all tasks: neither a shard nor a part of a schedule can be split."""
        return self.tasks


def shard_source(tasks: Sequence[ReadShard]) -> FixedTasks:
    """Make one task per shard; see `vqa_ray.stages.read.read_tasks`."""
    return FixedTasks("Shards", [ReadTask(until_stopped(until_spent(task)), _metadata(task)) for task in tasks])


def scheduled_source(tasks: Sequence[ReadScheduled]) -> FixedTasks:
    """Make one task per part of a training schedule; see `vqa_ray.training.stages.read_scheduled`."""
    return FixedTasks("Scheduled", [ReadTask(task, BlockMetadata(task.rows, task.size_bytes, None)) for task in tasks])


def _metadata(task: ReadShard) -> BlockMetadata:
    per_row = _LINE_BYTES if task.source.format in _LINE_FORMATS else _IMAGE_BYTES
    in_shard = task.shard.rows or max(1, task.shard.size_bytes // per_row)
    rows = in_shard if task.rows is None else task.rows
    size_bytes = int(task.shard.size_bytes * min(1.0, rows / in_shard))
    return BlockMetadata(num_rows=rows, size_bytes=size_bytes, exec_stats=None)

"""What Ray Data reads: a fixed list of tasks, for the shards of a `vqa_ray.readers.Source` one each."""

from __future__ import annotations

from collections.abc import Sequence

from ray.data import DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from vqa_ray.stages.read import ReadShard
from vqa_ray.training.stages.read_scheduled import ReadPlanned

# Bytes of an input row where the shard does not tell its rows: an encoded image, or a line with a reference to one.
_IMAGE_BYTES = 50_000
_LINE_BYTES = 150
_LINE_FORMATS = ("jsonl", "csv")


class FixedTasks(Datasource):
    """Read tasks that are all that travels to the workers, and stay as they are whatever the parallelism.

    Args:
        name: in plans and statistics.
        tasks: in the order of their rows.
    """

    def __init__(self, name: str, tasks: Sequence[ReadTask]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._name, self.tasks = name, list(tasks)

    def get_name(self) -> str:
        """The name in plans and statistics."""
        return self._name

    def estimate_inmemory_data_size(self) -> int | None:
        """Encoded bytes of all tasks."""
        return sum(task.metadata.size_bytes or 0 for task in self.tasks)

    def estimated_rows(self) -> int:
        """Rows of all tasks, guessed from their size where they do not tell."""
        return sum(task.metadata.num_rows or 0 for task in self.tasks)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """All of them: a shard cannot be entered in the middle, nor a plan changed."""
        return self.tasks


def shard_source(tasks: Sequence[ReadShard]) -> FixedTasks:
    """One task per shard; see `vqa_ray.stages.read.read_tasks`."""
    return FixedTasks("Shards", [ReadTask(task, _metadata(task)) for task in tasks])


def scheduled_source(tasks: Sequence[ReadPlanned]) -> FixedTasks:
    """One task per part of a training schedule; see `vqa_ray.training.stages.read_scheduled.planned_reads`."""
    return FixedTasks("Scheduled", [ReadTask(task, BlockMetadata(task.rows, task.size_bytes, None)) for task in tasks])


def _metadata(task: ReadShard) -> BlockMetadata:
    per_row = _LINE_BYTES if task.source.format in _LINE_FORMATS else _IMAGE_BYTES
    in_shard = task.shard.rows or max(1, task.shard.size_bytes // per_row)
    rows = in_shard if task.rows is None else task.rows
    size_bytes = int(task.shard.size_bytes * min(1.0, rows / in_shard))
    return BlockMetadata(num_rows=rows, size_bytes=size_bytes, exec_stats=None)

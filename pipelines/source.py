"""A `vqa_ray.readers.Source` as a Ray Data source: one read task per shard."""

from __future__ import annotations

from collections.abc import Sequence

from ray.data import DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from vqa_ray.stages.read import ReadShard

# Bytes of an input row where the shard does not tell its rows: an encoded image, or a line with a reference to one.
_IMAGE_BYTES = 50_000
_LINE_BYTES = 150
_LINE_FORMATS = ("jsonl", "csv")


class ShardSource(Datasource):
    """The shards of one source.

    Args:
        tasks: see `vqa_ray.stages.read.read_tasks`; they are all that travels to the workers.
    """

    def __init__(self, tasks: Sequence[ReadShard]) -> None:
        super().__init__()
        self._tasks = [ReadTask(task, _metadata(task)) for task in tasks]

    def get_name(self) -> str:
        """The name in plans and statistics."""
        return "Shards"

    def estimate_inmemory_data_size(self) -> int | None:
        """Encoded bytes of all shards."""
        return sum(task.metadata.size_bytes or 0 for task in self._tasks)

    def estimated_rows(self) -> int:
        """Rows of all shards, guessed from their size where they do not tell."""
        return sum(task.metadata.num_rows or 0 for task in self._tasks)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """One task per shard, whatever the parallelism: a shard cannot be entered in the middle."""
        return self._tasks


def _metadata(task: ReadShard) -> BlockMetadata:
    per_row = _LINE_BYTES if task.source.format in _LINE_FORMATS else _IMAGE_BYTES
    in_shard = task.shard.rows or max(1, task.shard.size_bytes // per_row)
    rows = in_shard if task.rows is None else task.rows
    size_bytes = int(task.shard.size_bytes * min(1.0, rows / in_shard))
    return BlockMetadata(num_rows=rows, size_bytes=size_bytes, exec_stats=None)

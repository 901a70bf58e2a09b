"""Write rows as Parquet, with Ray Data's checkpoint beside them."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
from ray.data import Dataset, SaveMode
from ray.data._internal.datasource.parquet_datasink import ParquetDatasink
from ray.data._internal.execution.interfaces import TaskContext
from ray.data.block import Block, BlockAccessor
from ray.data.checkpoint import CheckpointConfig
from ray.data.datasource import FilenameProvider, WriteResult

from vqa_ray.cache.answer_cache import write_news
from vqa_ray.cache.entries import CacheUsage, detach
from vqa_ray.pipelines.resources import WRITE_CPUS
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.private_names import with_private_names
from vqa_ray.schema import SOURCE_KEY
from vqa_ray.stages.questions import one_row_per_question
from vqa_ray.storage.filesystem import filesystem_for
from vqa_ray.storage.uri import join

# Retries of a write task that dies; its file names stay the same, so nothing is written twice.
_WRITE_RETRIES = 5


class RowSink(ParquetDatasink):
    """Writes each question of an input row as a row of its own.

    Ray Data commits and counts the incoming rows, one per input row, so all questions of a row are committed together.

    Args:
        path, filesystem: the directory of the files.
        schema: of the files, with metadata.
        names: of the files.
        rows_per_file: target lower limit of input rows per file.
        cache: URI of the cache that takes the news of the rows (`vqa_ray.cache.entries.NEWS`); None without one.

    Attributes:
        usage: of the cache, when the rows are written.
    """

    def __init__(
        self,
        path: str,
        filesystem: object,
        schema: pa.Schema,
        names: FilenameProvider,
        rows_per_file: int,
        *,
        cache: str | None = None,
    ) -> None:
        super().__init__(
            path,
            filesystem=filesystem,
            mode=SaveMode.APPEND,
            filename_provider=names,
            min_rows_per_file=rows_per_file,
            arrow_parquet_args={"schema": schema, "compression": "zstd"},
        )
        self._rows, self._cache = schema, cache
        self.usage: CacheUsage | None = None

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> CacheUsage | None:  # type: ignore[override]
        """Write a file, and one of what is new for the cache; called by Ray Data in a write task."""
        parts = [detach(BlockAccessor.for_block(block).to_arrow()) for block in blocks]
        # First, so that what is in the output is in the cache as well.
        usage = self._cache and write_news(self._cache, [cell for _, news in parts for cell in news])
        ParquetDatasink.write(self, [one_row_per_question(table, self._rows) for table, _ in parts], ctx)
        return usage or None

    def on_write_complete(self, write_result: WriteResult[CacheUsage | None]) -> None:  # type: ignore[override]
        """Add up what the write tasks returned; called by Ray Data in the driver."""
        super().on_write_complete(write_result)  # type: ignore[arg-type]
        if self._cache:
            self.usage = sum((each for each in write_result.write_returns if each), CacheUsage())


def checkpoint_config(layout: RunDirectory, invocation: str) -> CheckpointConfig:
    """Configure Ray Data's two-phase commit of written rows, identified by their source_key.

    Each process has a directory of its own, so Ray Data finds nothing to filter: our readers skip rows that are written
    already (`vqa_ray.runs.commits`), without an actor and without reading finished shards.
    """
    filesystem, path = filesystem_for(join(layout.checkpoint, invocation))
    return CheckpointConfig(
        id_column=SOURCE_KEY.name,
        checkpoint_path=path,
        delete_checkpoint_on_success=False,
        override_filesystem=with_private_names(filesystem),
    )


class FencedNames(FilenameProvider):
    """Names the files of one process as long as it is the writer of its output.

    Ray Data requests a name in the write task, before it writes: the last moment to stop a process that was presumed
    dead from adding rows that another process writes by now.

    Args:
        invocation: `part-…`, the prefix of the names, unique to the process.
        fence: the process's claim to the output.
    """

    def __init__(self, invocation: str, fence: Fence) -> None:
        super().__init__(dataset_uuid=invocation, file_format="parquet")
        self._fence = fence

    def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
        """Return the name of the next file; see `FilenameProvider`.

        Raises:
            RunError: another process has claimed the output.
        """
        self._fence.check()
        return super().get_filename_for_task(write_uuid, task_index)


def write(
    rows: Dataset,
    layout: RunDirectory,
    schema: pa.Schema,
    names: FencedNames,
    rows_per_file: int,
    *,
    cache: str | None = None,
) -> CacheUsage | None:
    """Run the pipeline and append its rows to the run directory; return what the cache was good for, if there is one.

    Args:
        rows: the lazy pipeline, one row per input row, built under a context with the checkpoint of `layout`.
        layout: the run directory.
        schema: of the files, with metadata.
        names: of the files.
        rows_per_file: target lower limit of input rows per file; the last files have fewer.
        cache: URI of the cache of answers; None without one.
    """
    filesystem, path = filesystem_for(layout.parts)
    if layout.has_private_parts:
        filesystem = with_private_names(filesystem)
    sink = RowSink(path, filesystem, schema, names, rows_per_file, cache=cache)
    rows.write_datasink(sink, ray_remote_args={"num_cpus": WRITE_CPUS, "max_retries": _WRITE_RETRIES})
    return sink.usage

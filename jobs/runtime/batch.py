"""The requests of a run, written into files for the batch interface of a provider."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import ray
from ray.data import DataContext, Dataset
from ray.data.exceptions import ExecutionTimeoutError

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.jobs.runtime.cluster.failures import failed_run
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.pools import plan_pools
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.spec.endpoint_group import BatchGroup
from vqa_ray.pipelines.ray_context import run_context
from vqa_ray.pipelines.resources import minimum_resources, require_resources
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import exists, list_files
from vqa_ray.storage.uri import join

logger = logging.getLogger(__name__)


class RequestFiles:
    """Numbered files of requests, each within the limits of a provider.

    Args:
        directory: of the files, which must hold none.
        max_requests, max_bytes: of a file.

    Raises:
        RequestError: there are files already.
    """

    def __init__(self, directory: str, max_requests: int, max_bytes: int) -> None:
        if exists(directory) and list_files(directory):
            raise RequestError(f"--batch-file {directory}: holds files already; give a new directory")
        self._directory, self._max_requests, self._max_bytes = directory, max_requests, max_bytes
        self._lines: list[bytes] = []
        self._bytes = 0
        self.requests = self.files = 0

    def add(self, line: bytes) -> None:
        """Add a request.

        Raises:
            RequestError: it is larger than a file may be.
        """
        if len(line) > self._max_bytes:
            raise RequestError(
                f"--batch-max-bytes {self._max_bytes}: a request has {len(line)} bytes; lower --max-pixels"
            )
        if len(self._lines) == self._max_requests or self._bytes + len(line) > self._max_bytes:
            self.flush()
        self._lines.append(line)
        self._bytes += len(line)
        self.requests += 1

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._lines:
            self.files += 1
            write_bytes_atomic(join(self._directory, f"requests-{self.files:05}.jsonl"), b"".join(self._lines))
            self._lines, self._bytes = [], 0


def write_requests(job: Job, work: Attempt) -> RunResult:
    """Write the requests of the rows that are not written yet; the output waits for their results.

    Raises:
        RequestError: the files are there already, or the cluster is too small.
        RunError: the pipeline failed.
    """
    spec = job.spec
    assert isinstance(spec, BatchGroup)
    assert spec.batch_file is not None
    files = RequestFiles(spec.batch_file, spec.batch_max_requests, spec.batch_max_bytes)
    with connect_ray(spec.address) as cluster:
        plan = plan_pools(spec, None, cluster)
        if not spec.wait_for_cluster:
            require_resources(minimum_resources(plan), cluster.resources, cluster.name)
        with DataContext.current(run_context(plan, None, spec.no_progress_timeout_s)):
            try:
                failed = _write(job.pipeline.build(work, plan), files)
            except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
                what = f"--batch-file {spec.batch_file}: not all requests are written; begin anew in a new directory"
                raise failed_run(error, what) from error
    for code, count in failed.items():
        logger.warning("no request for %s: %s; error rows come with the results", counted(count, "row"), code)
    logger.info(
        "%s in %s → %s; send them, then give what comes back to the same command with --batch-results "
        "in the place of --batch-file",
        *(counted(files.requests, "request"), counted(files.files, "file"), spec.batch_file),
    )
    return RunResult(spec.output)


def _write(rows: Dataset, files: RequestFiles) -> Counter[str]:
    """Write the requests of rows into files; return the numbers of rows without one, by error code."""
    failed = Counter[str]()
    table: Any
    for table in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
        failed.update(code for code in table["error_code"].to_pylist() if code is not None)
        for lines in table["lines"].to_pylist():
            for line in lines or ():
                files.add(line)
    files.flush()
    return failed

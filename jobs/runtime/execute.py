"""Run one pipeline on Ray."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import ray
from ray.data import DataContext
from ray.data.exceptions import ExecutionTimeoutError

from vqa_ray.cache.entries import CacheUsage
from vqa_ray.durations import duration
from vqa_ray.errors import OutageError, RunError, TimeSpentError, one_line
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.jobs.runtime.cluster.failures import failed_run
from vqa_ray.jobs.runtime.endpoint import endpoint_of
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.pools import plan_pools
from vqa_ray.jobs.runtime.progress_file import ProgressFile
from vqa_ray.jobs.runtime.reading_time import time_limit
from vqa_ray.jobs.runtime.watch import ProgressReporter
from vqa_ray.models.endpoint.batch import check_results
from vqa_ray.models.endpoint.probe import require_answer
from vqa_ray.pipelines.meter import metered
from vqa_ray.pipelines.ray_context import ExecutionStats, run_context
from vqa_ray.pipelines.reading import Reading
from vqa_ray.pipelines.reports import StopOnRequest, delete_reports, image_sizes, outages, report_under
from vqa_ray.pipelines.resources import minimum_resources, require_resources
from vqa_ray.pipelines.stage_metrics import RunMetrics, labels
from vqa_ray.pipelines.write import FencedNames, checkpoint_config, write
from vqa_ray.readers.estimate import estimate_rows
from vqa_ray.stages.model_actor import ModelActor
from vqa_ray.stages.second_opinion import SecondModelActor
from vqa_ray.stages.size_report import ImageSizes
from vqa_ray.storage.canonical import canonical_uri
from vqa_ray.storage.uri import uri_without_secrets

if TYPE_CHECKING:
    from ray.data._internal.stats import DatasetStatsSummary

logger = logging.getLogger(__name__)

# Name of Ray's operator → name in the summary, in the order of the pipeline.
_NAMES = (
    ("ReadShards", "read"),
    ("PrepareImages", "decode"),
    ("(ModelActor)", "model"),
    ("(SecondModelActor)", "second model"),
    ("Write", "write"),
)


class Execution(NamedTuple):
    """What an execution cost and saw.

    Attributes:
        stages_s: stage → seconds of work.
        spilled_bytes: what Ray moved from memory to disk.
        cache: what the cache was good for; None without one.
        images, second_images: the sizes in which the model and the second model got their images.
    """

    stages_s: dict[str, float]
    spilled_bytes: int
    cache: CacheUsage | None
    images: ImageSizes
    second_images: ImageSizes


def execute(job: Job, work: Attempt, invocation: str) -> Execution:
    """Run a job's pipeline.

    Args:
        job: the command.
        work: the rows to write.
        invocation: prefix of the names of the files that are written.

    Returns:
        What the execution cost and saw.

    Raises:
        RequestError: the cluster is too small, or the endpoint of the model does not answer.
        RunError: the pipeline failed, or the budget of the endpoint or --max-hours is spent.
    """
    spec, directory = job.spec, work.directory
    endpoints = []
    for each in (spec, *([job.second.spec] if job.second else [])):
        endpoint = endpoint_of(each)
        if endpoint is not None and endpoint.results is not None:
            own, foreign = check_results(endpoint.results, work.record.run_id)
            logger.info("%d results of this run, %d of other runs", own, foreign)
        elif endpoint is not None:
            endpoints.append(require_answer(each.model, endpoint))
    with connect_ray(spec.address) as cluster:
        plan = plan_pools(spec, job.second, cluster, work.total)
        if not spec.wait_for_cluster:
            require_resources(minimum_resources(plan), cluster.resources, cluster.name)
        context = run_context(plan, checkpoint_config(directory, invocation), spec.no_progress_timeout_s)
        context.custom_execution_callback_classes = [
            *context.custom_execution_callback_classes,
            ExecutionStats,
            StopOnRequest,
        ]
        ExecutionStats.last = None
        tags = labels(work.record.run_id, work.record.job, uri_without_secrets(canonical_uri(spec.output)))
        report_under(context, invocation, tags)
        reading = Reading(invocation)
        if (limit := time_limit(spec.max_hours, reading)) is not None:
            reading.may_stop(context)
        watch = ProgressReporter(
            work.total,
            present=work.present,
            quiet=spec.quiet,
            reports=invocation,
            file=ProgressFile(work, cluster.resources.get("CPU", 0.0), plan.actor_gpus),
            observe=RunMetrics(tags),
            limit=limit,
            estimate=partial(estimate_rows, job.source),
            max_error_fraction=1.0 if work.is_retry else spec.max_error_fraction,
        )
        with DataContext.current(context), watch.reporting(), metered(context, endpoints, directory.usage):
            try:
                rows = job.pipeline.build(work, plan)
                schema, rows_per_file = job.file_schema(work.record), job.rows_per_file(work.total)
                names = FencedNames(invocation, work.fence)
                usage = write(rows, directory, schema, names, rows_per_file, cache=getattr(spec, "cache", None))
                # A short run ends before the reporter looks.
                watch.count()
                if ExecutionStats.last is not None:
                    watch.stages_s, _ = _statistics(ExecutionStats.last)
                if reading.is_cut():
                    assert limit is not None
                    raise TimeSpentError(limit.message)
                images = {each: image_sizes(invocation, each.__name__) for each in (ModelActor, SecondModelActor)}
            except ExecutionTimeoutError as error:
                still = f"nothing has moved for {duration(spec.no_progress_timeout_s)} (--no-progress-timeout-s)"
                down = [f"{each.store} is down: {each.reason}" for each in outages(invocation) if not each.is_over]
                if down:
                    raise OutageError(f"{still}: {'; '.join(down)}; the same command goes on from here") from error
                raise RunError(f"{still}: {one_line(error)}") from error
            except (ray.exceptions.RayError, OSError) as error:
                raise failed_run(error, "the run failed, the same command goes on from here") from error
            finally:
                delete_reports(invocation)
                reading.forget()
        assert ExecutionStats.last is not None
        return Execution(*_statistics(ExecutionStats.last), usage, images[ModelActor], images[SecondModelActor])


def _statistics(last: DatasetStatsSummary) -> tuple[dict[str, float], int]:
    """Sum the seconds of work by stage over tasks, and give the bytes spilled."""
    seconds: dict[str, float] = {}
    summaries = [last]
    while summaries:
        summary = summaries.pop()
        summaries += summary.parents
        for operator in summary.operators_stats:
            name = next((ours for theirs, ours in _NAMES if theirs in operator.operator_name), None)
            if name is not None and operator.wall_time is not None:
                seconds[name] = round(seconds.get(name, 0.0) + operator.wall_time.sum, 3)
    return {name: seconds[name] for _, name in _NAMES if name in seconds}, int(last.global_bytes_spilled)

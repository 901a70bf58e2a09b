"""Run one pipeline on Ray; the only place that turns Ray's failures of a run into ours."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING

import ray
from ray.data import DataContext
from ray.data.exceptions import ExecutionTimeoutError

from vqa_ray.durations import duration
from vqa_ray.errors import RequestError, RunError, one_line
from vqa_ray.jobs.runtime.cluster.connect import Cluster, connect_ray
from vqa_ray.jobs.runtime.cluster.failures import causes, reason
from vqa_ray.jobs.runtime.endpoint import endpoint_of
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.model import gpus_per_actor
from vqa_ray.jobs.runtime.watch import ProgressReporter
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.models.endpoint.probe import require_answer
from vqa_ray.pipelines.ray_context import ExecutionStats, run_context
from vqa_ray.pipelines.reports import StopOnRequest, delete_reports, report_under
from vqa_ray.pipelines.resources import (
    ResourcePlan,
    ResourceRequest,
    minimum_resources,
    plan_resources,
    require_resources,
)
from vqa_ray.pipelines.write import FencedNames, checkpoint_config, write
from vqa_ray.readers.estimate import estimate_rows

if TYPE_CHECKING:
    from ray.data._internal.stats import DatasetStatsSummary

logger = logging.getLogger(__name__)

# Rows per call of an actor that asks an endpoint.
_ENDPOINT_BATCH = 32
# A refusal in an actor's constructor, which Ray passes on as text alone.
_REFUSED = re.compile(r"^(?:\([^)]*\) )?vqa_ray\.errors\.(?:ModelLoadError|RequestError): (.+)$", re.MULTILINE)
# Name of Ray's operator → name in the summary, in the order of the pipeline.
_NAMES = (
    ("ReadShards", "read"),
    ("PrepareImages", "decode"),
    ("ModelActor", "model"),
    ("Write", "write"),
)


def execute(job: Job, work: Attempt, invocation: str) -> tuple[dict[str, float], int]:
    """Run a job's pipeline.

    Args:
        job: the command.
        work: the rows to write.
        invocation: prefix of the names of the files that are written.

    Returns:
        Seconds of work by stage, and bytes spilled to disk.

    Raises:
        RequestError: the cluster is too small, or the endpoint of the model does not answer.
        RunError: the pipeline failed.
    """
    spec, directory = job.spec, work.directory
    endpoint = endpoint_of(spec)
    if endpoint is not None:
        require_answer(spec.model, endpoint)
    with connect_ray(spec.address) as cluster:
        plan = plan_job(spec, cluster)
        if not spec.wait_for_cluster:
            require_resources(minimum_resources(plan), cluster.resources, cluster.name)
        context = run_context(plan, checkpoint_config(directory, invocation), spec.no_progress_timeout_s)
        callbacks = [*context.custom_execution_callback_classes, ExecutionStats, StopOnRequest]
        context.custom_execution_callback_classes = callbacks
        ExecutionStats.last = None
        report_under(context, invocation)
        watch = ProgressReporter(
            work.total,
            present=work.present,
            quiet=spec.quiet,
            reports=invocation,
            # A retry reads only rows that failed before.
            estimate=partial(estimate_rows, job.source),
            max_error_fraction=spec.max_error_fraction if directory.attempt == 1 else 1.0,
        )
        with DataContext.current(context), watch.reporting():
            try:
                rows = job.pipeline.build(work, plan)
                schema, rows_per_file = job.file_schema(work.record), job.rows_per_file(work.total)
                write(rows, directory, schema, FencedNames(invocation, work.fence), rows_per_file)
                # A short run ends before the reporter looks.
                watch.count_answered()
            except ExecutionTimeoutError as error:
                raise RunError(
                    f"nothing has moved for {duration(spec.no_progress_timeout_s)} (--no-progress-timeout-s): "
                    f"{one_line(error)}"
                ) from error
            except (ray.exceptions.RayError, OSError) as error:
                raise _translated(error) from error
            finally:
                delete_reports(invocation)
        assert ExecutionStats.last is not None
        return _statistics(ExecutionStats.last)


def plan_job(spec: RunSpec, cluster: Cluster) -> ResourcePlan:
    """Plan where the parts of a job run."""
    low, high = spec.actors() or (None, None)
    request = ResourceRequest(spec.batch_size, low, high, gpus_per_actor(spec), spec.device)
    endpoint = endpoint_of(spec)
    if endpoint is not None:
        # One process asks as much as the limits allow.
        batch = spec.batch_size or max(_ENDPOINT_BATCH, endpoint.concurrency)
        request = ResourceRequest(batch, low or 1, high or 1, None, "cpu")
    cpus, gpus = cluster.resources.get("CPU", 0.0), cluster.resources.get("GPU", 0.0)
    plan = plan_resources(cpus, gpus, request, cluster.cores)
    if spec.compile and (not plan.actor_gpus or spec.device == "cpu"):
        logger.warning("--compile: is for CUDA; the model runs on CPUs, not compiled")
    return plan


def _translated(error: BaseException) -> RequestError | RunError:
    """Translate a failure of Ray: a wrong request that only a worker could see, or a failed run."""
    for cause in causes(error):
        if isinstance(cause, RequestError):
            # Below the message, Ray Data notes how often it tried.
            lines = str(getattr(cause, "cause", None) or cause).splitlines()
            return RequestError(one_line(lines[0] if lines else "", 1000))
    refused = _REFUSED.findall(str(error))
    if refused:
        return RequestError(one_line(refused[-1], 1000))
    return RunError(f"the run failed, the same command goes on from here: {reason(error)}")


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

"""The plan of a job's resources on a cluster: one model's pool of actors, or those of two."""

from __future__ import annotations

import logging
from dataclasses import replace

from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.jobs.runtime.endpoint import endpoint_of
from vqa_ray.jobs.runtime.model import gpus_per_actor
from vqa_ray.jobs.runtime.second_model import OpenedSecond
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.models.registry import FAKES
from vqa_ray.pipelines.resources import ResourcePlan, ResourceRequest, plan_resources

logger = logging.getLogger(__name__)

# Rows per call of an actor that asks an endpoint.
_ENDPOINT_BATCH = 32
# Rows that a batch of the second model of a cascade has for each row of a usual batch: most of them are decided.
_MOSTLY_DECIDED = 4
# A call of a model without weights takes longer than its rows, so a large input goes through it in large batches.
_WEIGHTLESS_BATCH, _LARGE_INPUT_ROWS = 256, 10_000


def plan_pools(spec: RunSpec, second: OpenedSecond | None, cluster: Cluster, rows: int | None = None) -> ResourcePlan:
    """Plan where the parts of a job run; two models that both want its GPUs, or its CPUs, have half of them each.

    Args:
        spec: the job.
        second: the second model of a cascade; None without one.
        cluster: where the job runs.
        rows: of the input; None where unknown.
    """
    if second is None:
        is_light = spec.batch_size is None and spec.model in FAKES and (rows or 0) >= _LARGE_INPUT_ROWS
        return plan_job(spec.model_copy(update={"batch_size": _WEIGHTLESS_BATCH}) if is_light else spec, cluster)
    mine, theirs = _device_of(spec, cluster), _device_of(second.spec, cluster)
    models = 2 if mine == theirs and isinstance(mine, str) else 1
    plan, other = plan_job(spec, cluster, models), plan_job(second.spec, cluster, models)
    if second.condition.below is not None and second.spec.batch_size is None:
        other = replace(other, batch_size=other.batch_size * _MOSTLY_DECIDED)
    return replace(plan, buffer_bytes=plan.buffer_bytes + other.buffer_bytes, second=other)


def _device_of(spec: RunSpec, cluster: Cluster) -> object:
    """Return a name of what a model computes on, an endpoint where it asks one."""
    endpoint = endpoint_of(spec)
    if endpoint is not None:
        return endpoint
    on_cpu = spec.num_gpus == 0 or (spec.num_gpus is None and spec.device == "cpu")
    return "CPU" if on_cpu or not cluster.resources.get("GPU") else "GPU"


def plan_job(spec: RunSpec, cluster: Cluster, models: int = 1) -> ResourcePlan:
    """Plan where the parts of a job run that has its share of a cluster for `models` models."""
    low, high = spec.actors() or (None, None)
    cpus, gpus = (cluster.resources.get(name, 0.0) / models for name in ("CPU", "GPU"))
    gpus_each = gpus_per_actor(spec)
    if gpus_each is None and 0 < gpus < 1:
        gpus_each = gpus if spec.device != "cpu" else None
    request = ResourceRequest(spec.batch_size, low, high, gpus_each, spec.device)
    endpoint = endpoint_of(spec)
    if endpoint is not None:
        # One process asks as much as the limits allow.
        batch = spec.batch_size or max(_ENDPOINT_BATCH, endpoint.concurrency)
        request = ResourceRequest(batch, low or 1, high or 1, None, "cpu")
    cores = None if cluster.cores is None else max(1, cluster.cores // models)
    plan = plan_resources(cpus, gpus, request, cores)
    # An endpoint has time-outs of its own, and waits for its limits.
    plan = replace(plan, row_timeout_s=0.0 if endpoint is not None else spec.row_timeout_s)
    if spec.compile and (not plan.actor_gpus or spec.device == "cpu"):
        logger.warning("--compile: is for CUDA; the model runs on CPUs, not compiled")
    return plan

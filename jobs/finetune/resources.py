"""Where a training runs on the cluster that it found, and how it decodes images."""

from __future__ import annotations

from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.jobs.runtime.image_limits import image_limits
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.resources import require_resources
from vqa_ray.pipelines.training_resources import (
    TrainingResourcePlan,
    TrainingResourceRequest,
    minimum_training_resources,
    plan_training_resources,
)
from vqa_ray.runs.record import RunRecord

# An image of the usual shape, height and width in pixels, to know about how many bytes a decoded one takes.
_USUAL = (480, 640)


def training_resource_plan(request: TrainingRequest, cluster: Cluster) -> TrainingResourcePlan:
    """Decide where the parts of a training run.

    Raises:
        RequestError: the cluster is too small.
    """
    spec, resources = request.spec, cluster.resources
    height, width = request.begin.transform.target_size(*_USUAL)
    wanted = TrainingResourceRequest(
        spec.workers(), spec.num_gpus, spec.batch_size, height * width * 3, spec.no_progress_timeout_s
    )
    plan = plan_training_resources(resources.get("CPU", 0.0), resources.get("GPU", 0.0), wanted, cluster.cores)
    if not spec.wait_for_cluster:
        require_resources(minimum_training_resources(plan), resources, cluster.name)
    return plan


def image_config(request: TrainingRequest, record: RunRecord) -> ImageConfig:
    """Return how images are fetched and decoded."""
    spec = request.spec
    return ImageConfig(
        request.begin.transform,
        image_limits(spec),
        spec.fast_decode,
        spec.allow_http,
        record.run_id,
        outage_timeout_s=spec.outage_timeout_s,
        row_timeout_s=spec.row_timeout_s,
    )

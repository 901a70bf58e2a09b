"""Validation rows, embedded by a written dual encoder as any other job would run it."""

from __future__ import annotations

import pyarrow as pa
import ray
from ray.data import DataContext

from vqa_ray.errors import RunError, one_line
from vqa_ray.jobs.finetune.prepare import PreparedTraining
from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.inference import embed
from vqa_ray.pipelines.ray_context import run_context
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.resources import ResourceRequest, plan_resources
from vqa_ray.stages.embed import EmbedConfig
from vqa_ray.stages.read import read_tasks


def embedded(
    request: TrainingRequest, prepared: PreparedTraining, model: ModelOptions, images: ImageConfig, cluster: Cluster
) -> pa.Table:
    """The validation rows as the pipeline of `vqa-ray index` embeds them: a row of `schema.embedding_schema` each.

    Raises:
        RunError: they could not be embedded.
    """
    spec, resources = request.spec, cluster.resources
    wishes = ResourceRequest(gpus_per_actor=spec.num_gpus)
    placement = plan_resources(resources.get("CPU", 0.0), resources.get("GPU", 0.0), wishes, cluster.cores)
    source = (request.validation or request.train).images.with_labels(())
    tasks = read_tasks(source, keys=prepared.validation.keys)
    with DataContext.current(run_context(placement, None, spec.no_progress_timeout_s)):
        rows = embed(tasks, images, EmbedConfig(model, thumbnails=False), placement, attempt=1)
        try:
            return pa.concat_tables(rows.iter_batches(batch_size=None, batch_format="pyarrow"))
        except (ray.exceptions.RayError, OSError) as error:
            raise RunError(f"the trained model could not be judged: {one_line(error, 1000)}") from error

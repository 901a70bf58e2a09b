"""The pipeline of `vqa-ray index`."""

from __future__ import annotations

from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.runtime.job import Attempt, image_config
from vqa_ray.jobs.runtime.model import model_options
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.inference import embed
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.stages.embed import EmbedConfig


@dataclass(frozen=True, slots=True)
class EmbedPipeline:
    """The pipeline of a spec; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: IndexSpec
    model: Checkpoint

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        config = EmbedConfig(model_options(self.spec, self.model), self.spec.thumbnails)
        return embed(work.tasks, image_config(self.spec, work, self.model), config, plan, work.directory.attempt)

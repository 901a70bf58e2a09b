"""Images → tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.actor_pool import map_on_actor_pool
from vqa_ray.pipelines.read_images import ImageConfig, read_and_decode
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.schema import COLUMNS_VERSION
from vqa_ray.stages.read import ReadShard
from vqa_ray.stages.tag import TagStage
from vqa_ray.taxonomy.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class TagConfig:
    """What decides the tags; see `TagStage`."""

    model: ModelOptions
    taxonomy: Taxonomy
    version: int = COLUMNS_VERSION


def tag(
    tasks: Sequence[ReadShard], images: ImageConfig, config: TagConfig, placement: ResourcePlan, attempt: int
) -> Dataset:
    """TAG rows, lazily: read → fetch → decode → tag."""
    decoded = read_and_decode(tasks, images, placement)
    return map_on_actor_pool(
        decoded,
        TagStage,
        {
            "model": config.model,
            "taxonomy": config.taxonomy,
            "version": config.version,
            "attempt": attempt,
            "threads": placement.actor_threads,
        },
        placement,
    )

"""Images → vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.actor_pool import map_on_actor_pool
from vqa_ray.pipelines.read_images import ImageConfig, read_and_decode
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.stages.embed import EmbedStage
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.read import ReadShard


@dataclass(frozen=True, slots=True)
class EmbedConfig:
    """What decides the rows; see `EmbedStage` and `DescribeImages`."""

    model: ModelOptions
    thumbnails: bool = True


def embed(
    tasks: Sequence[ReadShard], images: ImageConfig, config: EmbedConfig, placement: ResourcePlan, attempt: int
) -> Dataset:
    """Rows of `schema.embedding_schema`, lazily: read → fetch → decode → describe → embed."""
    decoded = read_and_decode(tasks, images, placement, DescribeImages(images.limits, thumbnails=config.thumbnails))
    return map_on_actor_pool(
        decoded,
        EmbedStage,
        {"model": config.model, "attempt": attempt, "threads": placement.actor_threads},
        placement,
    )

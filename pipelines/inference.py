"""Images → rows of a model's output: one lazy pipeline per command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ray.data import Dataset

from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.actor_pool import map_on_actor_pool
from vqa_ray.pipelines.read_images import ImageConfig, read_and_decode
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.embed import EmbedConfig, EmbedStage
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.read import ReadShard
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.stages.tag import TagConfig, TagStage


def answer(
    tasks: Sequence[ReadShard], images: ImageConfig, config: AnswerConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """ANSWER or ANSWERS rows, or packed ones that `write` unpacks: read → fetch → decode → answer."""
    decoded = read_and_decode(tasks, images, resources)
    config = replace(config, model=config.model.share(resources.max_actors))
    return map_on_actor_pool(decoded, partial(AnswerStage, config, attempt), resources, config.model.concurrent_calls)


def tag(
    tasks: Sequence[ReadShard], images: ImageConfig, config: TagConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """TAG rows: read → fetch → decode → tag."""
    decoded = read_and_decode(tasks, images, resources)
    config = replace(config, model=config.model.share(resources.max_actors))
    return map_on_actor_pool(decoded, partial(TagStage, config, attempt), resources, config.model.concurrent_calls)


def caption(
    tasks: Sequence[ReadShard], images: ImageConfig, config: CaptionConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """CAPTION rows: read → fetch → decode → caption."""
    decoded = read_and_decode(tasks, images, resources)
    config = replace(config, model=config.model.share(resources.max_actors))
    return map_on_actor_pool(decoded, partial(CaptionStage, config, attempt), resources, config.model.concurrent_calls)


def retrieve(
    tasks: Sequence[ReadShard], images: ImageConfig, config: RetrieveConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """RETRIEVE rows: read → fetch → decode → retrieve."""
    decoded = read_and_decode(tasks, images, resources)
    if isinstance(config.model, ModelOptions):
        config = replace(config, model=config.model.share(resources.max_actors))
    return map_on_actor_pool(decoded, partial(RetrieveStage, config, attempt), resources)


def embed(
    tasks: Sequence[ReadShard], images: ImageConfig, config: EmbedConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """Rows of `schema.embedding_schema`: read → fetch → decode → describe → embed."""
    describe = DescribeImages(images.limits, thumbnails=config.thumbnails)
    decoded = read_and_decode(tasks, images, resources, describe)
    return map_on_actor_pool(decoded, partial(EmbedStage, config, attempt), resources)

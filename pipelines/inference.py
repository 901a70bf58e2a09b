"""Questions about images → answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.actor_pool import map_on_actor_pool
from vqa_ray.pipelines.read_images import ImageConfig, read_and_decode
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.schema import COLUMNS_VERSION
from vqa_ray.stages.answer import AnswerStage
from vqa_ray.stages.read import ReadShard


@dataclass(frozen=True, slots=True)
class AnswerConfig:
    """What decides the answers; see `AnswerStage`."""

    model: ModelOptions
    top_k: int
    several: bool = False
    nested: bool = False
    boxes: bool = False
    version: int = COLUMNS_VERSION


def answer(
    tasks: Sequence[ReadShard], images: ImageConfig, config: AnswerConfig, placement: ResourcePlan, attempt: int
) -> Dataset:
    """ANSWER or ANSWERS rows, lazily, or packed ones that the sink writes as such: read → fetch → decode → answer."""
    decoded = read_and_decode(tasks, images, placement)
    return map_on_actor_pool(
        decoded,
        AnswerStage,
        {
            "model": config.model,
            "top_k": config.top_k,
            "several": config.several,
            "nested": config.nested,
            "boxes": config.boxes,
            "version": config.version,
            "attempt": attempt,
            "threads": placement.actor_threads,
        },
        placement,
    )

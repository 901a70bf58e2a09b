"""Images → captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.actor_pool import map_on_actor_pool
from vqa_ray.pipelines.read_images import ImageConfig, read_and_decode
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.schema import COLUMNS_VERSION
from vqa_ray.stages.caption import CaptionStage
from vqa_ray.stages.read import ReadShard


@dataclass(frozen=True, slots=True)
class CaptionConfig:
    """What decides the captions; see `CaptionStage`."""

    model: ModelOptions
    prompt: str | None = None
    boxes: bool = False
    version: int = COLUMNS_VERSION


def caption(
    tasks: Sequence[ReadShard], images: ImageConfig, config: CaptionConfig, placement: ResourcePlan, attempt: int
) -> Dataset:
    """CAPTION rows, lazily: read → fetch → decode → caption."""
    decoded = read_and_decode(tasks, images, placement)
    return map_on_actor_pool(
        decoded,
        CaptionStage,
        {
            "model": config.model,
            "prompt": config.prompt,
            "boxes": config.boxes,
            "version": config.version,
            "attempt": attempt,
            "threads": placement.actor_threads,
        },
        placement,
    )

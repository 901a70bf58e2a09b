"""Images → how well each fits a predicate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.actor_pool import map_on_actor_pool
from vqa_ray.pipelines.read_images import ImageConfig, read_and_decode
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.predicates.predicate import Predicate
from vqa_ray.schema import COLUMNS_VERSION
from vqa_ray.stages.read import ReadShard
from vqa_ray.stages.retrieve import RetrieveStage


@dataclass(frozen=True, slots=True)
class RetrieveConfig:
    """What is looked for, and how it is asked; see `RetrieveStage`."""

    model: ModelOptions
    predicate: Predicate
    ask_all: bool = False
    free_answers: bool = False
    version: int = COLUMNS_VERSION


def retrieve(
    tasks: Sequence[ReadShard], images: ImageConfig, config: RetrieveConfig, placement: ResourcePlan, attempt: int
) -> Dataset:
    """RETRIEVE rows, lazily: read → fetch → decode → retrieve."""
    decoded = read_and_decode(tasks, images, placement)
    return map_on_actor_pool(
        decoded,
        RetrieveStage,
        {
            "model": config.model,
            "predicate": config.predicate,
            "ask_all": config.ask_all,
            "free_answers": config.free_answers,
            "version": config.version,
            "attempt": attempt,
            "threads": placement.actor_threads,
        },
        placement,
    )

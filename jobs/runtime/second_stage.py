"""The second model of a job as its pipeline takes it."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from vqa_ray.jobs.runtime.job import Attempt, image_config
from vqa_ray.jobs.runtime.model import model_options
from vqa_ray.jobs.runtime.second_model import OpenedSecond
from vqa_ray.pipelines.inference import SecondModel
from vqa_ray.stages.answer import AnswerConfig
from vqa_ray.stages.caption import CaptionConfig
from vqa_ray.stages.opinions import Opinions
from vqa_ray.stages.tag import TagConfig

C = TypeVar("C", AnswerConfig, TagConfig, CaptionConfig)


def second_stage(second: OpenedSecond, config: C, work: Attempt, opinions: Opinions) -> SecondModel[C]:
    """Give the second model the configuration of the first one's stage, with a model and images of its own.

    Args:
        second: the model and its options.
        config: of the first model's stage.
        work: the rows to write.
        opinions: see `SecondModel`.
    """
    options = model_options(second.spec, second.model)
    # Notes about batches under way must differ from those of the first decoding.
    images = image_config(second.spec, work, second.model, "-second")
    return SecondModel(replace(config, model=options), images, opinions)

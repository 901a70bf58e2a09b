"""`vqa-ray caption`: describe images."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.base import Retry
from vqa_ray.jobs.spec.images import CaptionSpec
from vqa_ray.jobs.spec.options import command

if TYPE_CHECKING:
    from ray.data import Dataset

    from vqa_ray.jobs.runtime.job import Attempt
    from vqa_ray.models.load import ModelInfo
    from vqa_ray.pipelines.resources import ResourcePlan


def run(spec: CaptionSpec, retry: Retry | None) -> int:
    """Caption the input of `spec`, or its failed rows again; gives the exit code."""
    from vqa_ray import schema
    from vqa_ray.jobs.runtime import admission as guard
    from vqa_ray.jobs.runtime.job import Job, open_input, output_schema
    from vqa_ray.jobs.runtime.model import record_length, resolve_model
    from vqa_ray.jobs.runtime.run import run as run_job

    model = resolve_model(spec, "caption")
    if spec.prompt is not None and not model.kind.has_turns:
        raise RequestError(f"--prompt: model {spec.model}: {model.kind.told} begins its captions by itself")
    source = open_input(spec, (), needs_question=False)
    record = record_length(guard.new_record("caption", spec, source, model), spec, model)
    columns = output_schema(schema.caption_schema(model.kind.has_boxes, record.columns_version), source)
    return run_job(Job(record, spec, source, columns, partial(build, spec, model)), retry)


def build(spec: CaptionSpec, model: ModelInfo, work: Attempt, placement: ResourcePlan) -> Dataset:
    """The pipeline of a spec, lazily."""
    from vqa_ray.jobs.runtime.job import image_config
    from vqa_ray.jobs.runtime.model import recorded_options
    from vqa_ray.pipelines.inference import caption as pipeline
    from vqa_ray.stages.caption import CaptionConfig

    record = work.record
    options = recorded_options(spec, model, record)
    config = CaptionConfig(options, spec.prompt, model.kind.has_boxes, record.columns_version)
    return pipeline(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


caption = command(CaptionSpec, run)

if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["caption", *sys.argv[1:]]))

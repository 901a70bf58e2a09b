"""`vqa-ray caption`: describe images."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from jobs.options import command
from jobs.spec import CaptionSpec, Retry

if TYPE_CHECKING:
    from ray.data import Dataset

    from jobs.work import Work
    from pipelines.placement import Placement


def run(spec: CaptionSpec, retry: Retry | None) -> int:
    """Caption the input of `spec`, or its failed rows again; gives the exit code."""
    from jobs import guard
    from jobs.model import model_of
    from jobs.run import run as run_job
    from jobs.work import Job, open_input, output_schema
    from vqa_ray import schema

    model = model_of(spec, "caption")
    source = open_input(spec, (), needs_question=False)
    record = guard.asked("caption", spec, source, model)
    boxes = model.kind.has_boxes
    columns = output_schema(schema.caption_schema(boxes), source)
    return run_job(Job(record, spec, source, columns, partial(build, spec, boxes)), retry)


def build(spec: CaptionSpec, boxes: bool, work: Work, placement: Placement) -> Dataset:
    """The pipeline of a spec, lazily."""
    from jobs.model import options_of
    from jobs.work import image_config
    from pipelines.caption import CaptionConfig
    from pipelines.caption import caption as pipeline

    config = CaptionConfig(options_of(spec), spec.prompt, boxes)
    return pipeline(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


caption = command(CaptionSpec, run)

if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["caption", *sys.argv[1:]]))

"""`vqa-ray answer`: ask questions of images."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from jobs.options import command
from jobs.spec import AnswerSpec, Retry

if TYPE_CHECKING:
    from ray.data import Dataset

    from jobs.work import Work
    from pipelines.placement import Placement
    from vqa_ray.readers import Source


def run(spec: AnswerSpec, retry: Retry | None) -> int:
    """Answer the input of `spec`, or its failed rows again; gives the exit code."""
    from jobs import guard
    from jobs.run import run as run_job
    from jobs.work import Job, open_input
    from vqa_ray import schema
    from vqa_ray.models.load import describe

    source = open_input(spec, spec.question, needs_question=True)
    record = guard.asked("answer", spec, source, describe(spec.model))
    columns = schema.with_kept(schema.ANSWERS if source.several else schema.ANSWER, source.kept)
    return run_job(Job(record, spec, source, columns, partial(build, spec, source)), retry)


def build(spec: AnswerSpec, source: Source, work: Work, placement: Placement) -> Dataset:
    """The pipeline of a spec, lazily."""
    from jobs.work import image_config
    from pipelines.answer import AnswerConfig
    from pipelines.answer import answer as pipeline

    config = AnswerConfig(spec.model, spec.top_k, source.several, spec.device, spec.dtype, spec.compile)
    return pipeline(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


answer = command(AnswerSpec, run)

if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["answer", *sys.argv[1:]]))

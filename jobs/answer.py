"""`vqa-ray answer`: ask questions of images."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from jobs.options import command
from jobs.spec import AnswerSpec, Retry
from vqa_ray.errors import RequestError

if TYPE_CHECKING:
    from ray.data import Dataset

    from jobs.work import Work
    from pipelines.placement import Placement
    from vqa_ray.models.load import ModelInfo
    from vqa_ray.readers import Source


def run(spec: AnswerSpec, retry: Retry | None) -> int:
    """Answer the input of `spec`, or its failed rows again; gives the exit code."""
    from jobs import guard
    from jobs.model import model_of, record_length
    from jobs.run import run as run_job
    from jobs.work import Job, open_input, output_schema
    from vqa_ray import schema

    model = model_of(spec, "answer")
    takes_context = model.kind.is_generative and not spec.ignore_context
    takes_several = model.kind.takes_several
    source = open_input(
        spec, spec.question, needs_question=True, reads_context=takes_context, reads_several=takes_several
    )
    if not takes_context and not spec.ignore_context:
        _refuse_context(spec, source, model)
    build = partial(build_own, spec, source, model)
    if spec.engine == "vllm":
        from jobs import answer_vllm

        answer_vllm.check(spec, source, model)
        build = partial(answer_vllm.build, spec, model)
    record = record_length(guard.asked("answer", spec, source, model), spec, model)
    columns = output_schema(schema.answer_schema(source.several, model.kind.has_boxes), source)
    return run_job(Job(record, spec, source, columns, build), retry)


def _refuse_context(spec: AnswerSpec, source: Source, model: ModelInfo) -> None:
    column = spec.columns.get("context", "context")
    if column in source.columns:
        raise RequestError(
            f"{spec.input}: brings earlier turns in column {column!r}, and {model.kind.told} ({spec.model}) answers "
            "each question by itself; use a generative model, or --ignore-context"
        )


def build_own(spec: AnswerSpec, source: Source, model: ModelInfo, work: Work, placement: Placement) -> Dataset:
    """The pipeline of a spec on our own engines, lazily."""
    from jobs.model import recorded_options
    from jobs.work import image_config
    from pipelines.answer import AnswerConfig
    from pipelines.answer import answer as pipeline

    options = recorded_options(spec, model, work.record)
    config = AnswerConfig(options, spec.top_k, source.several, model.kind.has_boxes)
    return pipeline(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


answer = command(AnswerSpec, run)

if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["answer", *sys.argv[1:]]))

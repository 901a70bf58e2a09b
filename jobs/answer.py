"""`vqa-ray answer`: ask questions of images."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.base import Retry
from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.jobs.spec.options import command

if TYPE_CHECKING:
    from ray.data import Dataset

    from vqa_ray.jobs.runtime.job import Attempt
    from vqa_ray.models.load import ModelInfo
    from vqa_ray.pipelines.resources import ResourcePlan
    from vqa_ray.readers import Source
    from vqa_ray.runs.record import RunRecord


def run(spec: AnswerSpec, retry: Retry | None) -> int:
    """Answer the input of `spec`, or its failed rows again; gives the exit code."""
    from vqa_ray import schema
    from vqa_ray.jobs.runtime import admission as guard
    from vqa_ray.jobs.runtime.job import Job, open_input, output_schema
    from vqa_ray.jobs.runtime.model import record_length, resolve_model
    from vqa_ray.jobs.runtime.run import run as run_job

    model = resolve_model(spec, "answer")
    takes_context = model.kind.is_generative and model.kind.has_turns and not spec.ignore_context
    takes_several = model.kind.takes_several
    source = open_input(
        spec, spec.question, needs_question=True, reads_context=takes_context, reads_several=takes_several
    )
    if not takes_context and not spec.ignore_context:
        _refuse_context(spec, source, model)
    build = partial(build_own, spec, source, model)
    if spec.engine == "vllm":
        from vqa_ray.jobs import answer_vllm

        answer_vllm.check(spec, source, model)
        build = partial(answer_vllm.build, spec, source, model)
    record = record_length(guard.new_record("answer", spec, source, model), spec, model)
    nested = is_nested(spec, source, record)
    form = schema.answer_schema(nested, model.kind.has_boxes, record.columns_version)
    columns = output_schema(form, source)
    return run_job(Job(record, spec, source, columns, build), retry)


def is_nested(spec: AnswerSpec, source: Source, record: RunRecord) -> bool:
    """Whether the questions of an input row stand in one row of the output, as they always did at first."""
    return source.several and (spec.layout == "nested" or record.columns_version < 2)


def _refuse_context(spec: AnswerSpec, source: Source, model: ModelInfo) -> None:
    column = spec.columns.get("context", "context")
    if column in source.columns:
        raise RequestError(
            f"{spec.input}: brings earlier turns in column {column!r}, and {model.kind.told} ({spec.model}) answers "
            "each question by itself; use a generative model, or --ignore-context"
        )


def build_own(spec: AnswerSpec, source: Source, model: ModelInfo, work: Attempt, placement: ResourcePlan) -> Dataset:
    """The pipeline of a spec on our own engines, lazily."""
    from vqa_ray.jobs.runtime.job import image_config
    from vqa_ray.jobs.runtime.model import recorded_options
    from vqa_ray.pipelines.inference import answer as pipeline
    from vqa_ray.stages.answer import AnswerConfig

    record = work.record
    options, nested = recorded_options(spec, model, record), is_nested(spec, source, record)
    config = AnswerConfig(options, spec.top_k, source.several, nested, model.kind.has_boxes, record.columns_version)
    return pipeline(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


answer = command(AnswerSpec, run)

if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["answer", *sys.argv[1:]]))

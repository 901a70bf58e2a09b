"""`vqa-ray answer`: ask questions of images."""

from __future__ import annotations

from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.admission import new_record
from vqa_ray.jobs.runtime.job import Attempt, Job, image_config, open_input, output_schema
from vqa_ray.jobs.runtime.model import open_model, record_length, recorded_options
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.question_check import check_questions
from vqa_ray.pipelines.inference import answer
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.readers import Source
from vqa_ray.runs.record import RunRecord
from vqa_ray.stages.answer import AnswerConfig


def run(spec: AnswerSpec) -> RunResult:
    """Answer the input of a spec, or its failed rows again."""
    model = open_model(spec, "answer")
    check_questions(spec.question, model.family, model.label)
    takes_context = model.family.is_generative and model.family.has_turns and not spec.ignore_context
    source = open_input(
        spec,
        spec.question,
        needs_question=True,
        reads_context=takes_context,
        reads_several=model.family.takes_several,
        question_template=spec.question_template,
    )
    if not takes_context and not spec.ignore_context:
        _refuse_context(spec, source, model)
    record = record_length(new_record("answer", spec, source, model), spec, model)
    form = schema.answer_schema(is_nested(spec, source, record), model.family.has_boxes, record.columns_version)
    return run_job(Job(record, spec, source, output_schema(form, source), AnswerPipeline(spec, source, model)))


@dataclass(frozen=True, slots=True)
class AnswerPipeline:
    """The pipeline of a spec on our own engines; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: AnswerSpec
    source: Source
    model: Checkpoint

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        record = work.record
        config = AnswerConfig(
            recorded_options(self.spec, self.model, record),
            self.spec.top_k,
            self.source.multi_question,
            is_nested(self.spec, self.source, record),
            self.model.family.has_boxes,
            record.columns_version,
        )
        return answer(work.tasks, image_config(self.spec, work, self.model), config, plan, work.directory.attempt)


def is_nested(spec: AnswerSpec, source: Source, record: RunRecord) -> bool:
    """Whether the questions of an input row share one row of the output, as in the first version of the columns."""
    return source.multi_question and (spec.layout == "nested" or record.columns_version < 2)


def _refuse_context(spec: AnswerSpec, source: Source, model: Checkpoint) -> None:
    column = spec.columns.get("context", "context")
    if column in source.columns:
        raise RequestError(
            f"{spec.input}: brings earlier turns in column {column!r}, and {model.family.display_name} ({spec.model}) "
            "answers each question by itself; use a generative model, or --ignore-context"
        )

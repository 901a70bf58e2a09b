"""`vqa-ray answer`: ask questions of images."""

from __future__ import annotations

from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.grouping.answers import AnswerCombiner
from vqa_ray.jobs.answer.objects import fill_objects
from vqa_ray.jobs.answer.question_set import with_question_set
from vqa_ray.jobs.runtime.admission import new_record
from vqa_ray.jobs.runtime.job import Attempt, Job, image_config, open_input, output_schema
from vqa_ray.jobs.runtime.model import open_model, record_length, recorded_options
from vqa_ray.jobs.runtime.product_groups import check_together, groups_writer, with_group_kept
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.row_text import text_config
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.runtime.second_model import OpenedSecond, has_boxes, open_second, with_second, with_usage
from vqa_ray.jobs.runtime.second_stage import second_stage
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
    spec = with_group_kept(spec)
    if spec.object_schema is not None:
        return fill_objects(spec, spec.object_schema)
    spec = with_question_set(spec)
    model = open_model(spec, "answer")
    second = open_second(spec, "answer")
    models = [model, *([second.model] if second else [])]
    if second is not None and spec.layout == "nested":
        raise RequestError("--layout nested: a second model decides each question by itself; wanted --layout rows")
    for each in models:
        check_questions(spec.question, each.family, each.label)
    grouped = check_together(spec, models)
    takers = [each for each in models if each.family.is_generative and each.family.has_turns]
    takes_context = takers == models and not spec.ignore_context
    source = open_input(
        spec,
        spec.question,
        needs_question=True,
        reads_context=takes_context,
        reads_several=all(each.family.takes_several for each in models),
        question_template=spec.question_template,
        text=text_config(spec, spec.question, models),
    )
    if not takes_context and not spec.ignore_context:
        _refuse_context(spec, source, next(each for each in models if each not in takers))
    record = new_record("answer", spec, source, model, (second.recorded if second else {}) | grouped)
    record = record_length(record, spec, model)
    form = schema.answer_schema(is_nested(spec, source, record), has_boxes(model, second), record.columns_version)
    columns = output_schema(with_second(with_usage(form, model, second), second, "answer"), source)
    if spec.group_by is not None and is_nested(spec, source, record):
        raise RequestError("--group-by: combines the answers to each question; wanted --layout rows")
    groups = groups_writer(spec, source, AnswerCombiner)
    pipeline = AnswerPipeline(spec, source, model, second)
    return run_job(Job(record, spec, source, columns, pipeline, write_derived=groups, second=second))


@dataclass(frozen=True, slots=True)
class AnswerPipeline:
    """The pipeline of a spec on our own engines; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: AnswerSpec
    source: Source
    model: Checkpoint
    second: OpenedSecond | None

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        record = work.record
        config = AnswerConfig(
            recorded_options(self.spec, self.model, record),
            self.spec.top_k,
            self.source.multi_question,
            is_nested(self.spec, self.source, record),
            has_boxes(self.model, self.second),
            record.columns_version,
        )
        images, attempt = image_config(self.spec, work, self.model), work.directory.attempt
        second = second_stage(self.second, config, work, self.second.opinions("answer")) if self.second else None
        return answer(work.tasks, images, config, plan, attempt, second=second)


def is_nested(spec: AnswerSpec, source: Source, record: RunRecord) -> bool:
    """Whether the questions of an input row share one row of the output, as in the first version of the columns."""
    return source.multi_question and (spec.layout == "nested" or record.columns_version < 2)


def _refuse_context(spec: AnswerSpec, source: Source, model: Checkpoint) -> None:
    column = spec.columns.get("context", "context")
    if column in source.columns:
        raise RequestError(
            f"{spec.input}: brings earlier turns in column {column!r}, and {model.family.display_name} "
            f"({model.reference}) answers each question by itself; use a generative model, or --ignore-context"
        )

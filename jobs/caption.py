"""`vqa-ray caption`: describe images."""

from __future__ import annotations

from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.admission import new_record
from vqa_ray.jobs.runtime.job import Attempt, Job, image_config, open_input, output_schema
from vqa_ray.jobs.runtime.model import open_model, record_length, recorded_options
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.row_text import text_config
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.runtime.second_model import OpenedSecond, has_boxes, open_second, with_second, with_usage
from vqa_ray.jobs.runtime.second_stage import second_stage
from vqa_ray.jobs.spec.images import CaptionSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.inference import caption
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.stages.caption import CaptionConfig


def run(spec: CaptionSpec) -> RunResult:
    """Caption the input of a spec, or its failed rows again."""
    model = open_model(spec, "caption")
    second = open_second(spec, "caption")
    models = [model, *([second.model] if second else [])]
    for each in models:
        if spec.prompt is not None and not each.family.has_turns:
            raise RequestError(f"--prompt: {each.label}: {each.family.display_name} begins its captions by itself")
    text = text_config(spec, [spec.prompt] if spec.prompt else [], models)
    source = open_input(spec, (), needs_question=False, text=text)
    record = record_length(new_record("caption", spec, source, model, second.recorded if second else None), spec, model)
    form = schema.caption_schema(has_boxes(model, second), record.columns_version)
    columns = output_schema(with_second(with_usage(form, model, second), second, "caption"), source)
    return run_job(Job(record, spec, source, columns, CaptionPipeline(spec, model, second), second=second))


@dataclass(frozen=True, slots=True)
class CaptionPipeline:
    """The pipeline of a spec; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: CaptionSpec
    model: Checkpoint
    second: OpenedSecond | None

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        options = recorded_options(self.spec, self.model, work.record)
        boxes = has_boxes(self.model, self.second)
        config = CaptionConfig(options, self.spec.prompt, boxes, work.record.columns_version)
        images, attempt = image_config(self.spec, work, self.model), work.directory.attempt
        second = second_stage(self.second, config, work, self.second.opinions("caption")) if self.second else None
        return caption(work.tasks, images, config, plan, attempt, second=second)

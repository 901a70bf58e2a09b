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
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.spec.images import CaptionSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.inference import caption
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.stages.caption import CaptionConfig


def run(spec: CaptionSpec) -> RunResult:
    """Caption the input of a spec, or its failed rows again."""
    model = open_model(spec, "caption")
    if spec.prompt is not None and not model.family.has_turns:
        raise RequestError(f"--prompt: model {spec.model}: {model.family.display_name} begins its captions by itself")
    source = open_input(spec, (), needs_question=False)
    record = record_length(new_record("caption", spec, source, model), spec, model)
    columns = output_schema(schema.caption_schema(model.family.has_boxes, record.columns_version), source)
    return run_job(Job(record, spec, source, columns, CaptionPipeline(spec, model)))


@dataclass(frozen=True, slots=True)
class CaptionPipeline:
    """The pipeline of a spec; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: CaptionSpec
    model: Checkpoint

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        options = recorded_options(self.spec, self.model, work.record)
        config = CaptionConfig(options, self.spec.prompt, self.model.family.has_boxes, work.record.columns_version)
        return caption(work.tasks, image_config(self.spec, work, self.model), config, plan, work.directory.attempt)

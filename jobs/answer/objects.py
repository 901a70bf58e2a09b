"""`vqa-ray answer --schema`: fill an object of typed fields about each image."""

from __future__ import annotations

from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.admission import new_record
from vqa_ray.jobs.runtime.job import Attempt, Job, image_config, open_input, output_schema
from vqa_ray.jobs.runtime.model import open_model, record_length, recorded_options
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.row_text import text_config
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.runtime.second_model import with_usage
from vqa_ray.jobs.spec.field import option_name
from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.inference import fill
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.stages.fill import FillConfig, check_model
from vqa_ray.structured.load import load_schema
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.structured.prompt import object_prompt

# Of questions with free answers alone.
_OF_ANSWERS = (
    *("questions", "group_by", "layout", "top_k", "ignore_context", "question_template", "num_beams"),
    *("cascade", "then", "agree", "second_option"),
)


def fill_objects(spec: AnswerSpec, reference: str) -> RunResult:
    """Fill objects about the input of a spec, or about its failed rows again.

    Args:
        spec: of the command.
        reference: of the schema.
    """
    schema = load_schema(reference)
    for name in _OF_ANSWERS:
        if getattr(spec, name) != AnswerSpec.model_fields[name].default:
            raise RequestError(f"{option_name(name, AnswerSpec)}: does not go with --schema")
    if len(spec.question) > 1:
        raise RequestError("--question: with --schema, one text at most is wanted: the words that ask for the object")
    model = open_model(spec, "score")
    writes = check_model(schema, model, reference)
    if spec.question and not writes:
        raise RequestError(f"--question: {model.label} is asked by the fields of --schema; describe them there")
    asked = object_prompt(schema, spec.question[0] if spec.question else None)
    text = text_config(spec, [asked], [model])
    source = open_input(spec, (), needs_question=False, reads_several=model.family.takes_several and writes, text=text)
    facts = {"schema_fingerprint": schema.fingerprint}
    record = record_length(new_record("fill", spec, source, model, facts), spec, model)
    form = output_schema(with_usage(schema.form, model), source)
    return run_job(Job(record, spec, source, form, FillPipeline(spec, model, schema)))


@dataclass(frozen=True, slots=True)
class FillPipeline:
    """The pipeline of a spec; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: AnswerSpec
    model: Checkpoint
    schema: ObjectSchema

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        options = recorded_options(self.spec, self.model, work.record)
        request = self.spec.question[0] if self.spec.question else None
        config = FillConfig(options, self.schema, request)
        return fill(work.tasks, image_config(self.spec, work, self.model), config, plan, work.directory.attempt)

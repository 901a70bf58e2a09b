"""`vqa-ray instruct`: let a teacher write instruction data about images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ray.data import Dataset

from vqa_ray.errors import RequestError
from vqa_ray.export.llava import COLUMNS, llava_lines
from vqa_ray.instruct.filters import Filters
from vqa_ray.instruct.form import instruct_schema
from vqa_ray.instruct.prompts import Task, choose_tasks, fingerprint_of_tasks, load_tasks
from vqa_ray.jobs.instruct.excluded import excluded_images, fingerprint_of
from vqa_ray.jobs.runtime.admission import new_record
from vqa_ray.jobs.runtime.job import Attempt, Job, image_config, open_input, output_schema
from vqa_ray.jobs.runtime.model import model_options, open_model, record_length, recorded_options
from vqa_ray.jobs.runtime.output_file import check_file
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.row_text import text_config
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.runtime.second_model import OpenedSecond, open_verifier, with_usage
from vqa_ray.jobs.spec.instruct import InstructSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.endpoint.family import ENDPOINT
from vqa_ray.models.writes_objects import writes_objects
from vqa_ray.pipelines.inference import SecondModel, instruct
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.row_text.template import columns_of, is_column_name
from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import STATUS_OK
from vqa_ray.stages.instruct import InstructConfig
from vqa_ray.stages.verify import VerifyConfig
from vqa_ray.storage.atomic import open_atomic
from vqa_ray.structured.grammar import check_grammar, check_tokenizer
from vqa_ray.structured.load import load_schema

# Captions and boxes of an image, in tokens of each column.
_CONTEXT_BUDGET = 1024


def run(spec: InstructSpec) -> RunResult:
    """Write about the input of a spec, or about its failed rows again."""
    tasks = choose_tasks(load_tasks(spec.prompts), spec.tasks, has_schema=spec.object_schema is not None)
    if spec.llava is not None:
        check_file("--llava", spec.llava)
    model = open_model(spec, "answer")
    config = _config(spec, model, tasks)
    second = open_verifier(spec)
    text = text_config(spec, config.templates(), [model], _CONTEXT_BUDGET)
    source = open_input(spec, [task.name for task in tasks], needs_question=True, text=text)
    excluded = excluded_images(spec)
    config = replace(config, excluded=excluded, agreement=second is not None)
    facts: dict[str, Any] = {"prompts_fingerprint": fingerprint_of_tasks(tasks)}
    if config.schema is not None:
        facts["schema_fingerprint"] = config.schema.fingerprint
    if excluded:
        facts["excluded_fingerprint"] = fingerprint_of(excluded)
    record = new_record("instruct", spec, source, model, facts | (second.recorded if second else {}))
    record = record_length(record, spec, model)
    form = with_usage(instruct_schema(agreement=second is not None), model, second)
    pipeline = InstructPipeline(spec, model, config, second)
    roots = (source.config.image_root or source.root,)
    derived = None if spec.llava is None else partial(_write_llava, spec.llava, roots)
    return run_job(
        Job(record, spec, source, output_schema(form, source), pipeline, write_derived=derived, second=second)
    )


@dataclass(frozen=True, slots=True)
class InstructPipeline:
    """The pipeline of a spec; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: InstructSpec
    model: Checkpoint
    config: InstructConfig
    second: OpenedSecond | None

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        config = replace(self.config, model=recorded_options(self.spec, self.model, work.record))
        images, attempt = image_config(self.spec, work, self.model), work.directory.attempt
        return instruct(work.tasks, images, config, plan, attempt, second=self._second(work))

    def _second(self, work: Attempt) -> SecondModel[VerifyConfig] | None:
        if self.second is None:
            return None
        spec, model = self.second.spec, self.second.model
        config = VerifyConfig(model_options(spec, model), self.spec.min_agreement)
        return SecondModel(
            config, image_config(spec, work, model, "-second"), self.second.opinions("agreement", _unscored)
        )


def _unscored(outcome: object) -> None:
    """Return the score of a reply: none, so that every one of them is judged."""


def _config(spec: InstructSpec, model: Checkpoint, tasks: Sequence[Task]) -> InstructConfig:
    if not model.family.is_generative:
        raise RequestError(f"{model.label}: {model.family.display_name} chooses its answers; a teacher writes them")
    schema = None if spec.object_schema is None else load_schema(spec.object_schema)
    if schema is not None:
        if not writes_objects(model.family):
            raise RequestError(f"--schema: {model.label}: {model.family.display_name} writes no objects")
        check_grammar(schema, str(spec.object_schema))
        if model.path is not None:
            check_tokenizer(schema, model.path, model.label, str(spec.object_schema))
    for name in spec.context:
        if not is_column_name(name):
            raise RequestError(f"--context {name}: a column is named by letters, digits, spaces, dots, - and _")
    lines = "".join(f"\n{name}: {{{name}}}" for name in spec.context)
    context = f"\n\nWhat is known about the image:{lines}" if lines else ""
    filters = Filters(spec.min_words, spec.max_words, spec.max_similarity)
    if spec.max_words is not None and spec.max_words < spec.min_words:
        raise RequestError(f"--max-words {spec.max_words}: is less than --min-words {spec.min_words}")
    config = InstructConfig(
        model_options(spec, model), tuple(tasks), filters, spec.seed, schema, context, shows_images=not spec.text_only
    )
    if spec.text_only and model.family != ENDPOINT:
        raise RequestError(
            f"--text-only: {model.label} is shown images; only a model behind an endpoint reads text alone"
        )
    if spec.text_only and not columns_of(config.templates()):
        raise RequestError("--text-only: the teacher knows nothing of the images; name columns with --context")
    return config


def _write_llava(uri: str, roots: Sequence[str], parts: Sequence[str]) -> None:
    rows = (row for part in parts for row in read_columns(part, COLUMNS).to_pylist() if row["status"] == STATUS_OK)
    with open_atomic(uri) as file:
        file.writelines(line.encode() for line in llava_lines(rows, roots))

"""`vqa-ray retrieve`: find the images that fit an expression of questions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ray.data import Dataset

from vqa_ray import schema
from vqa_ray.jobs.runtime.admission import new_record
from vqa_ray.jobs.runtime.calibration import calibration_fingerprint, read_calibration
from vqa_ray.jobs.runtime.job import Attempt, Job, image_config, open_input, output_schema
from vqa_ray.jobs.runtime.model import model_options, open_model
from vqa_ray.jobs.runtime.predicate import parse_checked
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.row_text import text_config
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.runtime.second_model import with_usage
from vqa_ray.jobs.spec.images import RetrieveSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.inference import retrieve
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.predicates.predicate import Predicate
from vqa_ray.runs.matches import MATCHES_FILE, collect
from vqa_ray.stages.retrieve import RetrieveConfig
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.delete import delete
from vqa_ray.storage.uri import join

logger = logging.getLogger(__name__)


def run(spec: RetrieveSpec) -> RunResult:
    """Ask the questions of a spec, or those of its failed rows again."""
    model = open_model(spec, "score")
    calibration = read_calibration(spec.calibration, model)
    predicate = parse_checked(
        "--where",
        spec.where,
        model,
        calibration,
        spec.calibration,
        threshold=spec.threshold,
        combine=spec.combine,
        has_rows=True,
    )
    text = text_config(spec, [question.text for question in predicate.questions], [model])
    source = open_input(spec, (), needs_question=False, text=text)
    record = new_record("retrieve", spec, source, model, calibration_fingerprint(calibration))
    columns = output_schema(with_usage(schema.of_version(schema.RETRIEVE, record.columns_version), model), source)
    pipeline = RetrievePipeline(spec, predicate, model)
    return run_job(Job(record, spec, source, columns, pipeline, write_derived=partial(write_matches, spec)))


@dataclass(frozen=True, slots=True)
class RetrievePipeline:
    """The pipeline of a spec; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: RetrieveSpec
    predicate: Predicate
    model: Checkpoint

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        spec, version = self.spec, work.record.columns_version
        is_generative = self.model.family.is_generative
        config = RetrieveConfig(model_options(spec, self.model), self.predicate, spec.ask_all, is_generative, version)
        return retrieve(work.tasks, image_config(spec, work, self.model), config, plan, work.directory.attempt)


def write_matches(spec: RetrieveSpec, parts: Sequence[str]) -> None:
    """Write the matches of these part files, best first, and log how many questions they took."""
    found = collect(parts, spec.top_k)
    write_table_atomic(join(spec.output, MATCHES_FILE), found.table)
    # Its name in older runs: the list there would be out of date.
    delete(join(spec.output, "_matches.parquet"))
    best = f", the best {found.table.num_rows:,} of them" if found.table.num_rows < found.matches else ""
    logger.info("%d of %d images match → %s%s", found.matches, found.images, join(spec.output, MATCHES_FILE), best)
    if found.asked < found.questions:
        ratio = found.questions / max(1, found.asked)
        logger.info("%d of %d questions were asked, %.2f times fewer", found.asked, found.questions, ratio)

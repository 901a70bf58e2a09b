"""`vqa-ray retrieve`: find the images that fit an expression of questions."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from vqa_ray.jobs.spec.base import Retry
from vqa_ray.jobs.spec.images import RetrieveSpec
from vqa_ray.jobs.spec.options import command

if TYPE_CHECKING:
    from ray.data import Dataset

    from vqa_ray.jobs.runtime.job import Attempt
    from vqa_ray.models.load import ModelInfo
    from vqa_ray.pipelines.resources import ResourcePlan
    from vqa_ray.predicates.predicate import Predicate

logger = logging.getLogger(__name__)


def run(spec: RetrieveSpec, retry: Retry | None) -> int:
    """Ask the questions of `spec`, or those of its failed rows again; gives the exit code."""
    from vqa_ray import schema
    from vqa_ray.jobs.runtime import admission as guard
    from vqa_ray.jobs.runtime.job import Job, fingerprint_of, open_input, output_schema, read_calibration
    from vqa_ray.jobs.runtime.model import resolve_model
    from vqa_ray.jobs.runtime.predicate import predicate_of
    from vqa_ray.jobs.runtime.run import run as run_job

    model = resolve_model(spec, "score")
    calibration = read_calibration(spec.calibration, model)
    predicate = predicate_of(
        "--where", spec.where, model, calibration, spec.calibration, threshold=spec.threshold, combine=spec.combine
    )
    source = open_input(spec, (), needs_question=False)
    record = guard.new_record("retrieve", spec, source, model, fingerprint_of(calibration))
    columns = output_schema(schema.of_version(schema.RETRIEVE, record.columns_version), source)
    conclude = partial(write_matches, spec)
    return run_job(Job(record, spec, source, columns, partial(build, spec, predicate, model), conclude=conclude), retry)


def build(
    spec: RetrieveSpec, predicate: Predicate, model: ModelInfo, work: Attempt, placement: ResourcePlan
) -> Dataset:
    """The pipeline of a spec, lazily."""
    from vqa_ray.jobs.runtime.job import image_config
    from vqa_ray.jobs.runtime.model import model_options
    from vqa_ray.pipelines.inference import retrieve as pipeline
    from vqa_ray.stages.retrieve import RetrieveConfig

    version = work.record.columns_version
    config = RetrieveConfig(model_options(spec), predicate, spec.ask_all, model.kind.is_generative, version)
    return pipeline(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


def write_matches(spec: RetrieveSpec, parts: Sequence[str]) -> None:
    """Write the matches of these part files, best first, and tell what was asked for them."""
    from vqa_ray.runs.directory import delete
    from vqa_ray.runs.matches import MATCHES_FILE, collect
    from vqa_ray.storage.filesystem import join, write_table_atomic

    found = collect(parts, spec.top_k)
    write_table_atomic(join(spec.output, MATCHES_FILE), found.table)
    # Its name in runs from before: the list there would be out of date.
    delete(join(spec.output, "_matches.parquet"))
    best = f", the best {found.table.num_rows:,} of them" if found.table.num_rows < found.matches else ""
    logger.info("%d of %d images match → %s%s", found.matches, found.images, join(spec.output, MATCHES_FILE), best)
    if found.asked < found.questions:
        ratio = found.questions / max(1, found.asked)
        logger.info("%d of %d questions were asked, %.2f times fewer", found.asked, found.questions, ratio)


retrieve = command(RetrieveSpec, run)

if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["retrieve", *sys.argv[1:]]))

"""`vqa-ray tag`: tag images with the choices of a taxonomy."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from vqa_ray.jobs.rethreshold.spec import RethresholdSpec
from vqa_ray.jobs.spec.base import Retry
from vqa_ray.jobs.spec.images import TagSpec
from vqa_ray.jobs.spec.options import Variant, command

if TYPE_CHECKING:
    from ray.data import Dataset

    from vqa_ray.jobs.runtime.job import Attempt
    from vqa_ray.pipelines.resources import ResourcePlan
    from vqa_ray.taxonomy.taxonomy import Taxonomy


def run(spec: TagSpec, retry: Retry | None) -> int:
    """Tag the input of `spec`, or its failed rows again; gives the exit code."""
    from vqa_ray import schema
    from vqa_ray.jobs.runtime import admission as guard
    from vqa_ray.jobs.runtime.job import Job, fingerprint_of, open_input, output_schema, read_calibration
    from vqa_ray.jobs.runtime.model import resolve_model
    from vqa_ray.jobs.runtime.run import run as run_job
    from vqa_ray.models.load import load_vocabulary
    from vqa_ray.readers.source import parse_keep
    from vqa_ray.taxonomy.file import default_taxonomy, load_taxonomy

    taxonomy = load_taxonomy(spec.tags) if spec.tags else default_taxonomy()
    taxonomy.check_kept(parse_keep(spec.keep)[1])
    model = resolve_model(spec, "score")
    calibration = read_calibration(spec.calibration, model)
    extra = {"tags_fingerprint": taxonomy.fingerprint, **fingerprint_of(calibration)}
    if calibration is not None:
        taxonomy = taxonomy.calibrated({tag: fit.threshold for tag, fit in calibration.tags.items()})
    vocabulary = load_vocabulary(spec.model)
    if vocabulary is not None:
        taxonomy.check_against(vocabulary, spec.model, spec.tags or "the built-in taxonomy")
    source = open_input(spec, (), needs_question=False)
    record = guard.new_record("tag", spec, source, model, extra)
    columns = output_schema(schema.tag_schema(taxonomy.columns, record.columns_version), source)
    return run_job(Job(record, spec, source, columns, partial(build, spec, taxonomy)), retry)


def build(spec: TagSpec, taxonomy: Taxonomy, work: Attempt, placement: ResourcePlan) -> Dataset:
    """The pipeline of a spec, lazily."""
    from vqa_ray.jobs.runtime.job import image_config
    from vqa_ray.jobs.runtime.model import model_options
    from vqa_ray.pipelines.inference import tag as pipeline
    from vqa_ray.stages.tag import TagConfig

    config = TagConfig(model_options(spec), taxonomy, work.record.columns_version)
    return pipeline(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


def rethreshold(spec: RethresholdSpec) -> int:
    """Decide the tags of a finished run anew; see `vqa_ray.jobs.rethreshold.command`."""
    from vqa_ray.jobs.rethreshold.command import run

    return run(spec)


tag = command(TagSpec, run, variant=Variant("rethreshold", RethresholdSpec, rethreshold))

if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["tag", *sys.argv[1:]]))

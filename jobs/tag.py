"""`vqa-ray tag`: tag images with the choices of a taxonomy."""

from __future__ import annotations

from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray import schema
from vqa_ray.jobs.runtime.admission import new_record
from vqa_ray.jobs.runtime.calibration import calibration_fingerprint, read_calibration
from vqa_ray.jobs.runtime.job import Attempt, Job, image_config, open_input, output_schema
from vqa_ray.jobs.runtime.model import model_options, open_model
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.spec.images import TagSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.inference import tag
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.readers.source import parse_keep
from vqa_ray.stages.tag import TagConfig
from vqa_ray.taxonomy.file import default_taxonomy, load_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy


def run(spec: TagSpec) -> RunResult:
    """Tag the input of a spec, or its failed rows again."""
    taxonomy = load_taxonomy(spec.tags, spec.encoding) if spec.tags else default_taxonomy()
    taxonomy.check_kept(parse_keep(spec.keep)[1])
    model = open_model(spec, "score")
    calibration = read_calibration(spec.calibration, model)
    extra = {"tags_fingerprint": taxonomy.fingerprint, **calibration_fingerprint(calibration)}
    if calibration is not None:
        taxonomy = taxonomy.calibrated({tag: fit.threshold for tag, fit in calibration.tags.items()})
    vocabulary = model.vocabulary
    if vocabulary is not None:
        taxonomy.check_against(vocabulary, spec.model, spec.tags or "the built-in taxonomy")
    source = open_input(spec, (), needs_question=False)
    record = new_record("tag", spec, source, model, extra)
    columns = output_schema(schema.tag_schema(taxonomy.columns, record.columns_version), source)
    return run_job(Job(record, spec, source, columns, TagPipeline(spec, model, taxonomy)))


@dataclass(frozen=True, slots=True)
class TagPipeline:
    """The pipeline of a spec; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: TagSpec
    model: Checkpoint
    taxonomy: Taxonomy

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        config = TagConfig(model_options(self.spec, self.model), self.taxonomy, work.record.columns_version)
        return tag(work.tasks, image_config(self.spec, work, self.model), config, plan, work.directory.attempt)

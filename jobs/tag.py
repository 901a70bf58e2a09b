"""`vqa-ray tag`: tag images with the choices of a taxonomy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
from ray.data import Dataset

from vqa_ray.calibration.file import Calibration
from vqa_ray.grouping.tags import TagCombiner
from vqa_ray.jobs.runtime.admission import new_record
from vqa_ray.jobs.runtime.calibration import calibration_fingerprint, read_calibration
from vqa_ray.jobs.runtime.job import Attempt, Job, image_config, open_input, output_schema
from vqa_ray.jobs.runtime.model import model_options, open_model
from vqa_ray.jobs.runtime.product_groups import groups_writer, with_group_kept
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.row_text import text_config
from vqa_ray.jobs.runtime.run import run_job
from vqa_ray.jobs.runtime.second_model import OpenedSecond, open_second, with_second, with_usage
from vqa_ray.jobs.runtime.second_stage import second_stage
from vqa_ray.jobs.spec.images import TagSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.inference import tag
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.readers.source import parse_keep
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.stages.opinions import LeastTagScore, Opinions
from vqa_ray.stages.tag import TagConfig
from vqa_ray.stages.tag_models import further_models
from vqa_ray.taxonomy.file import default_taxonomy, load_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy

logger = logging.getLogger(__name__)

# What a record says of a taxonomy.
_TAXONOMY = frozenset(("tags", "tags_fingerprint", "tags_models", "calibration", "calibration_fingerprint"))


def run(spec: TagSpec) -> RunResult:
    """Tag the input of a spec, or its failed rows again."""
    spec = with_group_kept(spec)
    taxonomy = load_taxonomy(spec.tags, spec.encoding) if spec.tags else default_taxonomy()
    taxonomy.check_kept(parse_keep(spec.keep)[1])
    model = open_model(spec, "score")
    second = open_second(spec, "score")
    fitted, calibration = _fitted(spec, model, taxonomy)
    further = further_models(taxonomy, model_options(spec, model))
    extra: dict[str, Any] = {"tags_fingerprint": taxonomy.fingerprint, **calibration_fingerprint(calibration)}
    if further:
        extra["tags_models"] = {name: options.checkpoint.fingerprint for name, options in further.items()}
    pipeline = TagPipeline(spec, model, fitted, further)
    if second is not None:
        theirs, calibrated = _fitted(cast("TagSpec", second.spec), second.model, taxonomy)
        digests = {f"second_{name}": digest for name, digest in calibration_fingerprint(calibrated).items()}
        extra |= second.recorded | digests
        score = LeastTagScore(
            frozenset(each.name for each in taxonomy.attributes if each.multi),
            {} if calibration is None else {tag: fit.probability for tag, fit in calibration.tags.items()},
        )
        pipeline = replace(pipeline, second=second, second_taxonomy=theirs, opinions=second.opinions("tags", score))
    models = [model, *([second.model] if second else [])]
    models += [options.checkpoint for options in further.values()]
    levels = [level for each in taxonomy.attributes for level in each.levels]
    text = text_config(spec, [asked.question for level in levels for asked in level.questions()], models)
    source = open_input(spec, (), needs_question=False, text=text)
    record = new_record("tag", spec, source, model, extra)
    form = with_usage(taxonomy.output_schema(record.columns_version), model, second)
    form = with_second(form, second, "tags")
    may_differ = _TAXONOMY if spec.taxonomy_changed else frozenset()
    groups, columns = groups_writer(spec, source, partial(TagCombiner, taxonomy=fitted)), output_schema(form, source)
    job = Job(record, spec, source, columns, pipeline, write_derived=groups, second=second, may_differ=may_differ)
    result = run_job(job)
    _log_shortlists(taxonomy, spec.output)
    return result


def _fitted(spec: TagSpec, model: Checkpoint, taxonomy: Taxonomy) -> tuple[Taxonomy, Calibration | None]:
    """Check that a model can score a taxonomy, and give it the thresholds of the model's calibration."""
    calibration = read_calibration(spec.calibration, model)
    if calibration is not None:
        taxonomy = taxonomy.calibrated({tag: fit.threshold for tag, fit in calibration.tags.items()})
    if model.vocabulary is not None:
        taxonomy.check_against(model.vocabulary, model.reference, spec.tags or "the built-in taxonomy")
    return taxonomy, calibration


@dataclass(frozen=True, slots=True)
class TagPipeline:
    """The pipeline of a spec; see `vqa_ray.jobs.runtime.job.Pipeline`.

    Attributes:
        spec: of the command.
        model: the model.
        taxonomy: with the model's thresholds.
        further: the models that the taxonomy names.
        second: the second model; None without one.
        second_taxonomy: with the thresholds of the second model.
        opinions: how the two are joined.
    """

    spec: TagSpec
    model: Checkpoint
    taxonomy: Taxonomy
    further: Mapping[str, ModelOptions]
    second: OpenedSecond | None = None
    second_taxonomy: Taxonomy | None = None
    opinions: Opinions | None = None

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        options, version = model_options(self.spec, self.model), work.record.columns_version
        config = TagConfig(options, self.taxonomy, version, self.further)
        images, attempt = image_config(self.spec, work, self.model), work.directory.attempt
        second = None
        if self.second is not None and self.second_taxonomy is not None and self.opinions is not None:
            theirs = replace(config, taxonomy=self.second_taxonomy)
            second = second_stage(self.second, theirs, work, self.opinions)
        return tag(work.tasks, images, config, plan, attempt, second=second)


def _log_shortlists(taxonomy: Taxonomy, output: str) -> None:
    """Log where in their shortlists the best choices stood: near the end, the right one may have been beyond it."""
    for attribute in taxonomy.attributes:
        if attribute.shortlist is None:
            continue
        column, k = f"{attribute.name}_rank", attribute.shortlist.k
        parts = [read_columns(entry.uri, [column])[column] for entry in RunDirectory(output).part_files()]
        ranks = np.concatenate([np.zeros(0, np.int32), *(part.drop_null().to_numpy() for part in parts)])
        if len(ranks):
            logger.info(
                "  attribute %r: the best choice was first in its shortlist for %.1f %% of %d images, in the last "
                "quarter of %d for %.1f %%; if these are many, the right one may lie beyond (raise k), or the model "
                "cannot tell the choices apart",
                *(attribute.name, 100 * float((ranks == 1).mean()), len(ranks), k),
                100 * float((ranks > 0.75 * k).mean()),
            )

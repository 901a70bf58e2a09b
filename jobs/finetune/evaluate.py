"""The written model, judged as any other job would run it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pyarrow as pa
import ray
from ray.data import DataContext

from vqa_ray.errors import RunError, one_line
from vqa_ray.jobs.finetune.prepare import PreparedTraining
from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.inference import answer
from vqa_ray.pipelines.ray_context import run_context
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.resources import ResourceRequest, plan_resources
from vqa_ray.report.training_summary import Confusion
from vqa_ray.schema import STATUS_OK
from vqa_ray.stages.answer import AnswerConfig
from vqa_ray.stages.read import read_tasks
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.training.config import CONTRASTIVE, TrainingPaths
from vqa_ray.training.log import TrainingLog, ValidationRecord
from vqa_ray.training.validation import ValidationMetrics
from vqa_ray.training.validation_notes import judgement_notes
from vqa_ray.training.vqa.validate import RESULTS, confusion, metrics_of

_MOST_ANSWERS = 20
_TOP_K = 5


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What a training came to.

    Attributes:
        log: its steps and validations; the accuracy of the best one is that of the written model.
        answers: ANSWER rows of the written model, one for each validation row, or what it made of pairs; None without
            validation.
        confusion: of its most frequent answers; None without validation, and of pairs.
        notes: sentences to stand beside the accuracy.
    """

    log: TrainingLog
    answers: pa.Table | None
    confusion: Confusion | None
    notes: tuple[str, ...] = ()


def evaluate(
    request: TrainingRequest, prepared: PreparedTraining, places: TrainingPaths, images: ImageConfig, cluster: Cluster
) -> EvaluationResult:
    """Answer the validation rows with the written model through the pipeline of `vqa-ray answer`, and score them.

    While it was trained, the network was judged in mixed precision and before it was written; what is published is
    judged as its users will run it.
    """
    log = TrainingLog.from_json(json.loads(read_bytes(places.log)))
    best = log.best
    if best is None:
        return EvaluationResult(log, None, None)
    if request.spec.task == CONTRASTIVE:
        from vqa_ray.jobs.finetune.evaluate_pairs import embedded
        from vqa_ray.training.contrastive.evaluate import judge_embedded

        options = ModelOptions(places.best, dtype=request.spec.dtype)
        pairs = judge_embedded(
            embedded(request, prepared, options, images, cluster), prepared.validation, options, best.loss
        )
        log.validations[log.validations.index(best)] = _judged(best, pairs.metrics)
        return EvaluationResult(log, pairs.rows, None)
    answers = _answers(request, prepared, places.best, images, cluster)
    is_ok = pa.array([status == STATUS_OK for status in answers["status"].to_pylist()])
    loss = pa.array([best.loss if ok else None for ok in is_ok.to_pylist()], pa.float32())
    results = pa.table([loss if name == "loss" else answers[name] for name in RESULTS.names], schema=RESULTS)
    found = metrics_of(results, prepared.validation)
    log.validations[log.validations.index(best)] = _judged(best, found)
    notes = judgement_notes(results, prepared.validation, found, prepared.rows)
    return EvaluationResult(log, answers, Confusion(*confusion(results, prepared.validation, _MOST_ANSWERS)), notes)


def _judged(record: ValidationRecord, found: ValidationMetrics) -> ValidationRecord:
    return replace(
        record,
        accuracy=found.accuracy,
        accuracy_by_type=found.by_type,
        rows=found.rows,
        rows_by_type=found.rows_by_type,
        skipped=found.skipped,
    )


def _answers(
    request: TrainingRequest, prepared: PreparedTraining, model: str, images: ImageConfig, cluster: Cluster
) -> pa.Table:
    spec, resources = request.spec, cluster.resources
    wishes = ResourceRequest(gpus_per_actor=spec.num_gpus)
    placement = plan_resources(resources.get("CPU", 0.0), resources.get("GPU", 0.0), wishes, cluster.cores)
    tasks = read_tasks((request.validation or request.train).images, keys=prepared.validation.keys)
    options = ModelOptions(model, dtype=spec.dtype)
    with DataContext.current(run_context(placement, None, spec.no_progress_timeout_s)):
        rows = answer(tasks, images, AnswerConfig(options, _TOP_K), placement, attempt=1)
        try:
            return pa.concat_tables(rows.iter_batches(batch_size=None, batch_format="pyarrow"))
        except (ray.exceptions.RayError, OSError) as error:
            raise RunError(f"the trained model could not be judged: {one_line(error, 1000)}") from error

"""The written model on the validation rows, run as any other job would run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO

import pyarrow as pa
import ray
from pyarrow import parquet
from ray.data import DataContext, Dataset

from vqa_ray.errors import RunError, one_line
from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.inference import answer, embed
from vqa_ray.pipelines.ray_context import run_context
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.resources import ResourcePlan, ResourceRequest, plan_resources
from vqa_ray.report.training_summary import Confusion
from vqa_ray.stages.answer import AnswerConfig
from vqa_ray.stages.embed import EmbedConfig
from vqa_ray.stages.read import read_tasks
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.training.chat.validate import chat_notes, usual_metric
from vqa_ray.training.config import CHAT, VQA
from vqa_ray.training.contrastive.evaluate import evaluate_embedded
from vqa_ray.training.data.prepared import PreparedTraining
from vqa_ray.training.log import TrainingLog, ValidationRecord
from vqa_ray.training.validation import ValidationMetrics
from vqa_ray.training.vqa.evaluate import evaluate_answers

_TOP_K = 5

_Build = Callable[[ResourcePlan], Dataset]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """A training with the accuracy of its written model.

    Attributes:
        log: its steps and validations; the accuracy of the best one is that of the written model.
        rows: those of the written model, one for each validation row: ANSWER, or PAIR_RANKS; None without validation.
        confusion: of its most frequent answers; None without validation, and of pairs.
        notes: sentences to stand beside the accuracy.
    """

    log: TrainingLog
    rows: pa.Table | None = None
    confusion: Confusion | None = None
    notes: tuple[str, ...] = ()


def evaluate(
    request: TrainingRequest, prepared: PreparedTraining, images: ImageConfig, cluster: Cluster
) -> EvaluationResult:
    """Run the written model over the validation rows through the pipeline of `vqa-ray answer` or `index`.

    During training the network was validated in mixed precision and before it was written; the published accuracy is
    of the model as its users run it.

    Raises:
        RunError: the pipeline failed, or no row could be measured.
    """
    log = TrainingLog.from_json(json.loads(read_bytes(request.paths.log)))
    best = log.best
    if best is None:
        return EvaluationResult(log)
    if request.spec.task == CHAT:
        return _validated(request, prepared, log)
    model = ModelOptions(request.paths.best, dtype=request.spec.dtype)
    if request.spec.task == VQA:
        answers = _run(request, cluster, partial(_answer, request, prepared, images, model))
        found = evaluate_answers(answers, prepared.validation, prepared.rows, best.loss)
        _replace(log, best, found.metrics)
        return EvaluationResult(log, answers, Confusion(*found.confusion), found.notes)
    embedded = _run(request, cluster, partial(_embed, request, prepared, images, model))
    pairs = evaluate_embedded(embedded, prepared.validation, model, best.loss)
    _replace(log, best, pairs.metrics)
    return EvaluationResult(log, pairs.rows)


def _validated(request: TrainingRequest, prepared: PreparedTraining, log: TrainingLog) -> EvaluationResult:
    """Return the best validation of a chat training, whose rows may show no image or begin with a system prompt.

    The pipeline of `vqa-ray answer` could not ask those; the network was validated with the prompts of inference.
    """
    with BytesIO(read_bytes(request.paths.results)) as file:
        rows = parquet.read_table(file)
    metric = request.spec.metric or usual_metric(prepared.validation)
    return EvaluationResult(log, rows, notes=chat_notes(rows, prepared.validation, prepared.rows, metric))


def _replace(log: TrainingLog, record: ValidationRecord, found: ValidationMetrics) -> None:
    """Put the metrics of the written model in the place of those of the training."""
    log.validations[log.validations.index(record)] = replace(
        record,
        accuracy=found.accuracy,
        accuracy_by_type=found.by_type,
        rows=found.rows,
        rows_by_type=found.rows_by_type,
        skipped=found.skipped,
    )


def _answer(
    request: TrainingRequest, prepared: PreparedTraining, images: ImageConfig, model: ModelOptions, plan: ResourcePlan
) -> Dataset:
    source = (request.validation or request.train).images
    tasks = read_tasks(source, keys=prepared.validation.keys)
    return answer(tasks, images, AnswerConfig(model, _TOP_K), plan, attempt=1)


def _embed(
    request: TrainingRequest, prepared: PreparedTraining, images: ImageConfig, model: ModelOptions, plan: ResourcePlan
) -> Dataset:
    source = (request.validation or request.train).images.with_labels(())
    tasks = read_tasks(source, keys=prepared.validation.keys)
    return embed(tasks, images, EmbedConfig(model, thumbnails=False), plan, attempt=1)


def _run(request: TrainingRequest, cluster: Cluster, build: _Build) -> pa.Table:
    """Return all rows of a pipeline."""
    spec, resources = request.spec, cluster.resources
    wanted = ResourceRequest(gpus_per_actor=spec.num_gpus)
    plan = plan_resources(resources.get("CPU", 0.0), resources.get("GPU", 0.0), wanted, cluster.cores)
    with DataContext.current(run_context(plan, None, spec.no_progress_timeout_s)):
        try:
            return pa.concat_tables(build(plan).iter_batches(batch_size=None, batch_format="pyarrow"))
        except (ray.exceptions.RayError, OSError) as error:
            raise RunError(f"the trained model could not be judged: {one_line(error, 1000)}") from error

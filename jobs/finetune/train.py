"""The training itself, on Ray; the only place that turns the failures of Ray Train into ours."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray.train import TrainingFailedError

from vqa_ray.errors import OutageError, RunError
from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.runtime.cluster.failures import reason, typed_failure
from vqa_ray.jobs.runtime.progress import ProgressLine, background, log_progress, time_left
from vqa_ray.pipelines import training as pipeline
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.training_resources import TrainingResourcePlan
from vqa_ray.storage.delete import delete
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.training.chat.validate import usual_metric
from vqa_ray.training.config import (
    CHAT,
    CONTRASTIVE,
    ChatConfig,
    CheckpointPolicy,
    LoraConfig,
    OptimizerConfig,
    TrainingConfig,
)
from vqa_ray.training.data.prepared import PreparedTraining, targets_of
from vqa_ray.training.data.randaugment import GEOMETRIC, OPERATIONS
from vqa_ray.training.data.schedule import evaluation_parts
from vqa_ray.training.stages.augment import AugmentImages
from vqa_ray.training.stages.read_scheduled import scheduled_reads
from vqa_ray.training.start import StartInfo

logger = logging.getLogger(__name__)

_STARTING = "starting the training workers and loading the model"
# Of AdamW, as ViLT (torch's own) and CLIP (Radford et al. 2021, table 18) were trained.
_EPSILON, _CLIP_EPSILON = 1e-8, 1e-6
_CHAT_BETAS = (0.9, 0.999)


def training_config(request: TrainingRequest, prepared: PreparedTraining) -> TrainingConfig:
    """Return all that decides the training but its rows."""
    spec, paths = request.spec, request.paths
    return TrainingConfig(
        task=spec.task,
        epochs=spec.epochs,
        steps_per_epoch=prepared.schedule.steps_per_epoch,
        rows=len(prepared.schedule),
        batch_size=spec.batch_size,
        optimizer=_optimizer(spec),
        dropout=spec.dropout,
        lora=_lora(request) if spec.lora else None,
        auxiliary=tuple(len(classes) for classes in prepared.classes.values()),
        dtype=spec.dtype,
        export_dtype=_export_dtype(request),
        seed=spec.seed,
        patience=spec.patience,
        checkpoints=CheckpointPolicy(spec.checkpoint_every, spec.keep_checkpoints),
        paths=paths if len(prepared.validation) else replace(paths, validation_rows=None),
        chat=_chat(request, prepared),
    )


def _optimizer(spec: FinetuneSpec) -> OptimizerConfig:
    config = OptimizerConfig(
        learning_rate=spec.learning_rate,
        head_multiplier=spec.head_multiplier,
        weight_decay=spec.weight_decay,
        warmup_fraction=spec.warmup_fraction,
        gradient_clip=spec.gradient_clip,
        epsilon=_CLIP_EPSILON if spec.task == CONTRASTIVE else _EPSILON,
    )
    if spec.task != CHAT:
        return config
    times = (spec.projector_learning_rate or spec.learning_rate) / spec.learning_rate
    return replace(config, head_multiplier=times, betas=_CHAT_BETAS, schedule="cosine")


def _lora(request: TrainingRequest) -> LoraConfig:
    spec = request.spec
    # An adapter may be used from another directory, and belongs to the commit that it was trained on.
    return LoraConfig(spec.lora_rank, spec.lora_alpha, spec.lora_dropout, base=request.model)


def _chat(request: TrainingRequest, prepared: PreparedTraining) -> ChatConfig | None:
    spec, begin = request.spec, request.begin
    if spec.task != CHAT:
        return None
    assert isinstance(begin, StartInfo)
    return ChatConfig(
        request.model,
        begin.revisions,
        train_projector=spec.train_projector or spec.full,
        gradient_checkpointing=spec.gradient_checkpointing,
        max_pixels=spec.max_pixels,
        max_tokens=spec.max_tokens,
        tokens_per_pass=spec.tokens_per_pass,
        metric=spec.metric or usual_metric(prepared.validation),
        validation_answers=spec.validation_answers,
        max_new_tokens=spec.max_new_tokens,
    )


def _export_dtype(request: TrainingRequest) -> str:
    """Return the precision of the written weights: for `auto` that of the checkpoint."""
    if request.spec.export_dtype != "auto":
        return request.spec.export_dtype
    begin = request.begin
    return begin.dtype if isinstance(begin, StartInfo) else "float32"


def train(
    request: TrainingRequest,
    prepared: PreparedTraining,
    images: ImageConfig,
    plan: TrainingResourcePlan,
) -> None:
    """Train to the end, from the last checkpoint on.

    Raises:
        RunError: it failed; the same command goes on from the last checkpoint.
    """
    spec, config = request.spec, training_config(request, prepared)
    held_out = request.validation or request.train
    evaluation = evaluation_parts(prepared.validation.keys, targets_of(prepared.validation, prepared.vocabulary))
    validation = scheduled_reads(held_out.images, evaluation, held_out.captions)
    reads = pipeline.TrainingInputs(prepared.schedule, request.train.images, validation, request.train.captions)
    streams = pipeline.TrainingStreams(ray.put(reads), images, _augment(spec), plan)
    delete(config.paths.failure)
    with nullcontext() if spec.quiet else background(partial(_log_progress, config.paths.progress)):
        try:
            pipeline.fit(config, streams, spec.max_failures)
        except (TrainingFailedError, ray.exceptions.RayError, OSError) as error:
            if isinstance(outage := typed_failure(error), OutageError):
                raise outage from error
            raise RunError(
                f"training failed, the same command goes on from its last checkpoint: {reason(error)}"
            ) from error
    try:
        raise RunError(read_bytes(config.paths.failure).decode())
    except FileNotFoundError:
        return


def _augment(spec: FinetuneSpec) -> AugmentImages | None:
    if spec.augment == "none":
        return None
    operations = OPERATIONS if spec.augment == "randaug" else GEOMETRIC
    return AugmentImages(spec.seed, spec.augment_operations, spec.augment_magnitude, operations=operations)


def _log_progress(progress: str, stop: threading.Event) -> None:
    """Log the progress of a training, every so often."""
    # An earlier try has left its progress.
    known = {(_progress(progress) or {"step": -1})["step"]}

    def new_line() -> ProgressLine | None:
        content = _progress(progress)
        if content is None or content["step"] in known:
            return None
        known.add(content["step"])
        return ProgressLine(line(content), content)

    log_progress(stop, _STARTING, new_line)


def _progress(uri: str) -> dict[str, Any] | None:
    """Read what the training has written of its progress; None before its first step."""
    try:
        content: dict[str, Any] = json.loads(read_bytes(uri))
    except FileNotFoundError:
        return None
    return content


def line(progress: dict[str, Any]) -> str:
    """Describe progress in one line."""
    left = time_left(progress["steps"] - progress["step"], progress["steps_per_s"])
    measure = "mean recall" if progress["task"] == CONTRASTIVE else "accuracy"
    best = "" if progress["accuracy"] is None else f", best {measure} {progress['accuracy']:.4f}"
    epoch = min(progress["epoch"] + 1, progress["epochs"])
    return (
        f"step {progress['step']:,} of {progress['steps']:,} (epoch {epoch} of {progress['epochs']}), "
        f"loss {progress['loss']:.4f}, {progress['samples_per_s']:,.1f} rows/s{best}{left}"
    )

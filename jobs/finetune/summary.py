"""What the report and the card of a training say."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vqa_ray.jobs.finetune.evaluate import EvaluationResult
from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.models.checkpoint.readme import card_of
from vqa_ray.report.licences import licence_of
from vqa_ray.report.training_summary import Skipped, Trained, TrainingData
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.uri import name_of
from vqa_ray.training.chat.validate import usual_metric
from vqa_ray.training.config import CHAT, CONTRASTIVE, VQA
from vqa_ray.training.data.captions import NO_CAPTION
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.prepared import PreparedTraining
from vqa_ray.training.start import StartInfo


def training_summary(
    request: TrainingRequest,
    prepared: PreparedTraining,
    record: RunRecord,
    evaluation: EvaluationResult,
    *,
    timing: Mapping[str, Any],
    notes: Sequence[str],
) -> Trained:
    """Gather what report and card say."""
    spec, rows, log = request.spec, prepared.rows, evaluation.log
    best = log.best
    skipped = _unread("reading", rows)
    if spec.validation:
        skipped += _unread("reading the rows to validate on", prepared.validation)
    if rows.unanswered:
        skipped.append(Skipped("training", NO_CAPTION if spec.task == CONTRASTIVE else "no answer", rows.unanswered))
    outside = int(prepared.targets.without) - rows.unanswered
    if outside:
        skipped.append(Skipped("training", "no answer of the vocabulary", outside))
    skipped += [Skipped("training, all epochs", code, number) for code, number in log.skipped.items()]
    if best is not None:
        skipped += [Skipped("validation", code, number) for code, number in best.skipped.items()]
    validation = None
    if len(prepared.validation):
        validation = (
            spec.validation or f"{100 * spec.validation_fraction:.3g} % of the images of the input, not trained on"
        )
    return Trained(
        name=name_of(spec.output) if spec.push_to_hub is None else spec.push_to_hub,
        start=spec.model if isinstance(request.begin, StartInfo) else _describe_shape(asdict(request.begin)),
        finished=str(timing["finished"]),
        command=_command(),
        recipe=_recipe(spec),
        versions=record.versions,
        data=TrainingData(
            uri=spec.input,
            rows=len(prepared.schedule),
            answers=prepared.answers,
            images=prepared.images,
            validation=validation,
            validation_rows=len(prepared.validation),
            skipped=tuple(skipped),
            limit=spec.limit,
        ),
        log=log,
        exported_step=None if best is None else best.step,
        duration_s=log.seconds + sum(record.seconds for record in log.validations),
        hardware=_hardware(),
        confusion=evaluation.confusion,
        notes=(*evaluation.notes, *notes),
        judgement=evaluation.notes,
        base_model=_hub_name(spec.model),
        license=spec.licence or _licence_of_base(request),
        adapter=spec.lora and spec.lora_export == "adapter",
        metric=spec.metric or usual_metric(prepared.validation) if spec.task == CHAT else None,
        architecture=request.begin.architecture if isinstance(request.begin, StartInfo) else None,
        task=spec.task,
    )


def _unread(where: str, rows: LabelledRows) -> list[Skipped]:
    """Count the rows that could not be read, by error code where they are known."""
    counted = rows.failures or ({"could not be read": rows.failed} if rows.failed else {})
    return [Skipped(where, code, number) for code, number in counted.items()]


def _recipe(spec: FinetuneSpec) -> Mapping[str, object]:
    """Return the settings of a training that its report names."""
    names = (
        "task",
        "epochs",
        "batch_size",
        "learning_rate",
        "head_multiplier",
        "weight_decay",
        "warmup_fraction",
        "gradient_clip",
        "dropout",
        "augment",
        "augment_operations",
        "augment_magnitude",
        "seed",
        "dtype",
        "lora",
        "lora_rank",
        "lora_alpha",
        "lora_dropout",
        "full",
        "train_projector",
        "projector_learning_rate",
        "gradient_checkpointing",
        "max_pixels",
        "max_tokens",
        "metric",
        "auxiliary",
        "shape",
    )
    recipe: dict[str, object] = {}
    for name in names:
        value = getattr(spec, name)
        if value is None or value is False or value in ([], {}) or (spec.augment == "none" and "augment_" in name):
            continue
        if name == "head_multiplier" and spec.task != VQA and not spec.auxiliary:
            continue
        if name.startswith("lora_") and not spec.lora:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        recipe[name] = ", ".join(value) if isinstance(value, list) else value
    return recipe


def _describe_shape(shape: Mapping[str, int]) -> str:
    text = f"; text {shape['text_layers']} layers of {shape['text_hidden_size']}" if "text_layers" in shape else ""
    return (
        f"scratch: {shape['layers']} layers of {shape['hidden_size']}, patches of {shape['patch_size']} pixels, images "
        f"of {shape.get('shortest_edge', shape.get('image_size'))}{text}"
    )


def _command() -> list[str]:
    """Return the words of the command, the program by its name alone."""
    program = Path(sys.argv[0]).name
    return [program if program == "vqa-ray" else "vqa-ray", *sys.argv[1:]]


def _licence_of_base(request: TrainingRequest) -> str | None:
    if not isinstance(request.begin, StartInfo):
        return None
    card = card_of(request.spec.model, request.begin.path)
    return None if card is None else licence_of(card)


def _hub_name(reference: str) -> str | None:
    """Return the name of a model on the hub, without a revision; None where the reference is another."""
    name = reference.partition("@")[0]
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(name).exists() else None


def _hardware() -> str:
    """Describe this machine."""
    return f"{len(os.sched_getaffinity(0))} CPU cores, {platform.machine()}"

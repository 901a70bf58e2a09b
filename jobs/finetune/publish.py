"""The finished training in its output: report, card, metrics, the model's files, and the manifest last."""

from __future__ import annotations

import logging
import os
import platform
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from vqa_ray.durations import duration
from vqa_ray.jobs.finetune.evaluate import EvaluationResult
from vqa_ray.jobs.finetune.prepare import PreparedTraining, training_recipe
from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.models.checkpoint.readme import card_of
from vqa_ray.readers.columns import ROLES
from vqa_ray.report.licences import licence_of
from vqa_ray.report.model_card import write_card
from vqa_ray.report.training_page import write_training
from vqa_ray.report.training_summary import WORDS, Skipped, Trained, TrainingData
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import FORMAT, RunRecord
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.filesystem import copy_file, fsspec_for, list_files, read_bytes
from vqa_ray.storage.uri import join, name_of
from vqa_ray.training.config import CONTRASTIVE, VQA
from vqa_ray.training.data.captions import NO_CAPTION
from vqa_ray.training.log import TrainingLog

logger = logging.getLogger(__name__)

# What makes a directory a model that can be loaded; so it comes last.
_LAST = "config.json"


def training_summary(
    request: TrainingRequest,
    prepared: PreparedTraining,
    record: RunRecord,
    judged: EvaluationResult,
    timing: Mapping[str, Any],
) -> Trained:
    """What report and card tell."""
    spec, rows, log = request.spec, prepared.rows, judged.log
    best = log.best
    skipped = [Skipped("reading", "could not be read", rows.failed)] if rows.failed else []
    if spec.validation and prepared.validation.failed:
        skipped.append(Skipped("reading the rows to validate on", "could not be read", prepared.validation.failed))
    if rows.unanswered:
        skipped.append(Skipped("training", "no answer" if spec.task == VQA else NO_CAPTION, rows.unanswered))
    outside = int(prepared.targets.without) - rows.unanswered
    if outside:
        skipped.append(Skipped("training", "no answer of the vocabulary", outside))
    skipped += [Skipped("training, all epochs", code, number) for code, number in log.skipped.items()]
    if best is not None:
        skipped += [Skipped("validation", code, number) for code, number in best.skipped.items()]
    validation = None
    if len(prepared.validation):
        validation = spec.validation or f"{spec.validation_fraction:.0%} of the images of the input, not trained on"
    return Trained(
        name=name_of(spec.output) if spec.push_to_hub is None else spec.push_to_hub,
        start=spec.model if request.shape is None else _told_shape(request.shape),
        finished=str(timing["finished"]),
        command=_command(),
        recipe=training_recipe(spec),
        versions=record.versions,
        data=TrainingData(
            uri=spec.input,
            rows=len(prepared.plan),
            answers=prepared.answers,
            images=prepared.images,
            validation=validation,
            validation_rows=len(prepared.validation),
            skipped=tuple(skipped),
        ),
        log=log,
        exported_step=None if best is None else best.step,
        duration_s=log.seconds + sum(record.seconds for record in log.validations),
        hardware=_hardware(),
        confusion=judged.confusion,
        notes=(*judged.notes, *([prepared.learnt] if prepared.learnt else []), *prepared.notes),
        judgement=judged.notes,
        base_model=_hub_name(spec.model),
        license=spec.licence or _licence_of_base(request),
        adapter=spec.lora and spec.lora_export == "adapter",
        task=spec.task,
    )


def publish(told: Trained, spec: FinetuneSpec, model: str, answers: pa.Table | None, started: str) -> None:
    """Write report, card and tables into the output, and the model's files beside them, so that it loads only when
    all of it is there.

    Args:
        model: URI of the directory of the model to publish.
        answers: the rows of the last judgement, for `validation.parquet`.
        started: when the training began, ISO 8601.
    """
    output = spec.output
    write_training(join(output, "training.html"), told)
    write_card(join(output, "README.md"), told)
    write_table_atomic(join(output, "metrics.parquet"), told.log.to_table())
    if answers is not None:
        write_table_atomic(join(output, "validation.parquet"), answers)
    if spec.tensorboard:
        from vqa_ray.training.tensorboard import write_scalars

        write_scalars(join(output, "tensorboard"), told.log, started=datetime.fromisoformat(started).timestamp())
    for name, uri in sorted(_files(model), key=lambda file: file[0] == _LAST):
        copy_file(uri, join(output, name))


def conclude(
    request: TrainingRequest, prepared: PreparedTraining, record: RunRecord, told: Trained, timing: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the manifest, last of all; gives its content."""
    log, best = told.log, told.judged
    content = {
        "format": FORMAT,
        "status": "finished",
        "task": told.task,
        "spec_hash": record.spec_hash,
        **{name: getattr(record, name) for name in record.__dataclass_fields__},
        "rows": len(prepared.plan),
        "validation_rows": len(prepared.validation),
        "answers": prepared.answers,
        "steps": log.steps,
        "exported_step": told.step,
        "skipped": [{"where": s.where, "reason": s.reason, "rows": s.rows} for s in told.data.skipped],
        "skipped_fraction": round(_skipped_fraction(prepared, log), 6),
        # Of pairs, the mean recall and the recalls.
        "accuracy": None if best is None else best.accuracy,
        "accuracy_by_type": {} if best is None else dict(best.accuracy_by_type),
        "loss": None if best is None else best.loss,
        "judgement": list(told.judgement),
        "timing": {**timing, "train_s": log.seconds, "samples_per_s": log.samples_per_s},
    }
    manifest.write(RunDirectory(request.spec.output).manifest, content)
    return content


def _skipped_fraction(prepared: PreparedTraining, log: TrainingLog) -> float:
    """The share of the rows to train on that could not be read, or whose image could not be used."""
    planned, failed = len(prepared.plan), prepared.rows.failed
    skipped = sum(log.skipped.values())
    # Of each epoch; the epochs can differ where storage stumbled.
    share = skipped / max(1, log.samples + skipped)
    return (failed + share * planned) / (failed + planned)


def tell(content: Mapping[str, Any], spec: FinetuneSpec) -> RunResult:
    """Log the summary of a finished training, and give its result."""
    accuracy = content["accuracy"]
    if accuracy is None:
        logger.info("%d steps on %d rows, not validated → %s", content["steps"], content["rows"], spec.output)
    else:
        logger.info(
            "%s %.4f, loss %s, on %d validation rows, after step %d of %d → %s",
            WORDS[spec.task].measure,
            accuracy,
            "unknown" if content["loss"] is None else format(content["loss"], ".4f"),
            content["validation_rows"],
            content["exported_step"],
            content["steps"],
            spec.output,
        )
        by_type = content["accuracy_by_type"]
        logger.info("  %s", ", ".join(f"{name} {value:.4f}" for name, value in by_type.items()))
    # Trainings of earlier versions have no such notes.
    for note in content.get("judgement", ()):
        logger.info("  %s", note)
    for entry in content["skipped"]:
        logger.warning("  %s: %d rows left out: %s", entry["where"], entry["rows"], entry["reason"])
    timing = content["timing"]
    logger.info("  %s of training, %.1f rows/s", duration(timing["train_s"]), timing["samples_per_s"])
    logger.info("  next: %s", next_command(spec))
    too_many = content["skipped_fraction"] > spec.max_error_fraction
    if too_many:
        logger.error(
            "%s: %.1f%% of the rows could not be used, more than --max-error-fraction %g",
            spec.output,
            100 * content["skipped_fraction"],
            spec.max_error_fraction,
        )
    return RunResult(spec.output, rows=content["rows"], has_too_many_errors=too_many)


def next_command(spec: FinetuneSpec) -> str:
    """A command that runs as it is: the trained model on the images that it was validated on, or trained on."""
    job, suffix = ("index", "index") if spec.task == CONTRASTIVE else ("answer", "answers")
    words = ["vqa-ray", job, "--input", spec.validation or spec.input]
    words += ["--output", f"{spec.output.rstrip('/')}-{suffix}", "--model", spec.output]
    if spec.input_format is not None:
        words += ["--input-format", spec.input_format]
    if job == "answer" and spec.question is not None:
        words += ["--question", spec.question]
    for ours, theirs in spec.columns.items():
        # The others name right answers.
        if ours in ROLES:
            words += ["--column", f"{ours}={theirs}"]
    for option, value in (("--image-root", spec.image_root), ("--encoding", spec.encoding)):
        words += [] if value is None else [option, value]
    words += ["--allow-http"] if spec.allow_http else []
    return shlex.join(words)


def _told_shape(shape: Mapping[str, int]) -> str:
    text = f"; text {shape['text_layers']} layers of {shape['text_hidden_size']}" if "text_layers" in shape else ""
    return (
        f"scratch: {shape['layers']} layers of {shape['hidden_size']}, patches of {shape['patch_size']} pixels, images "
        f"of {shape.get('shortest_edge', shape.get('image_size'))}{text}"
    )


def _command() -> list[str]:
    """The words of the command, the program by its name alone."""
    program = Path(sys.argv[0]).name
    return [program if program == "vqa-ray" else "vqa-ray", *sys.argv[1:]]


def _licence_of_base(request: TrainingRequest) -> str | None:
    if request.start is None:
        return None
    card = card_of(request.spec.model, request.start.path)
    return None if card is None else licence_of(card)


def _hub_name(reference: str) -> str | None:
    """The name of a model on the hub, without a revision; None where the reference is another."""
    name = reference.partition("@")[0]
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(name).exists() else None


def _files(directory: str) -> list[tuple[str, str]]:
    """(name below the directory, URI) of its files, but for the private ones."""
    root = fsspec_for(directory)[1].rstrip("/") + "/"
    return [(fsspec_for(entry.uri)[1].removeprefix(root), entry.uri) for entry in list_files(directory)]


def amend(spec: FinetuneSpec) -> None:
    """Give the card of a finished training the licence and the repository's name that are asked for now."""
    if spec.licence is None and spec.push_to_hub is None:
        return
    from vqa_ray.report.amended_card import amended_card

    uri = join(spec.output, "README.md")
    try:
        card = read_bytes(uri).decode("utf-8", "replace")
    except FileNotFoundError:
        logger.warning("%s: the card is gone; neither --licence nor the repository's name is written", uri)
        return
    amended = amended_card(card, name=spec.push_to_hub, licence=spec.licence)
    if amended != card:
        write_bytes_atomic(uri, amended.encode())


def push(spec: FinetuneSpec) -> None:
    """Upload a finished training where that is asked for.

    Raises:
        RunError: the hub does not take it; the training stays finished.
    """
    if spec.push_to_hub is None:
        return
    from vqa_ray.training.hub import push as upload

    with tempfile.TemporaryDirectory() as directory:
        for name, uri in _files(spec.output):
            copy_file(uri, str(Path(directory) / name))
        logger.info("uploaded to %s", upload(Path(directory), spec.push_to_hub))


def _hardware() -> str:
    """This machine, in words."""
    return f"{len(os.sched_getaffinity(0))} CPU cores, {platform.machine()}"

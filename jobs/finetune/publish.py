"""The finished training in its output: report, card, metrics, the model's files, and the manifest last."""

from __future__ import annotations

import logging
import shlex
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from vqa_ray.counted import counted
from vqa_ray.durations import duration
from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.readers.columns import ROLES
from vqa_ray.report.amended_card import amended_card
from vqa_ray.report.model_card import write_card
from vqa_ray.report.training_page import write_training
from vqa_ray.report.training_summary import WORDS, Trained
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import FORMAT, RunRecord
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.filesystem import copy_file, fsspec_for, list_files, read_bytes
from vqa_ray.storage.uri import join
from vqa_ray.training.config import CONTRASTIVE
from vqa_ray.training.data.prepared import PreparedTraining
from vqa_ray.training.hub import push as upload
from vqa_ray.training.log import TrainingLog
from vqa_ray.training.tensorboard import write_scalars

logger = logging.getLogger(__name__)

# What makes a directory a model that can be loaded; so it comes last.
_LAST = "config.json"
# The rows of the user, which stay with the training.
_NOT_UPLOADED = ("validation.parquet",)
# Not the name of the adapter in an assembled checkpoint, which would be merged once more.
ADAPTER_DIRECTORY = "lora"


def publish(
    summary: Trained, spec: FinetuneSpec, model: str, rows: pa.Table | None, started: str, *, adapter: str | None = None
) -> None:
    """Write report, card and tables into the output, and the model's files after them, `config.json` last.

    Args:
        summary: what report and card say.
        spec: of the training.
        model: URI of the directory of the model to publish.
        adapter: of the adapter to publish below it; None for none.
        rows: of the evaluation, for `validation.parquet`.
        started: when the training began, ISO 8601.
    """
    output = spec.output
    if adapter is not None:
        for name, uri in _files(adapter):
            copy_file(uri, join(output, ADAPTER_DIRECTORY, name))
    write_training(join(output, "training.html"), summary)
    write_card(join(output, "README.md"), summary)
    write_table_atomic(join(output, "metrics.parquet"), summary.log.to_table())
    if rows is not None:
        write_table_atomic(join(output, "validation.parquet"), rows)
    if spec.tensorboard:
        write_scalars(join(output, "tensorboard"), summary.log, started=datetime.fromisoformat(started).timestamp())
    for name, uri in sorted(_files(model), key=lambda file: file[0] == _LAST):
        copy_file(uri, join(output, name))


def conclude(
    request: TrainingRequest, prepared: PreparedTraining, record: RunRecord, summary: Trained, timing: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the manifest, last of all; gives its content."""
    log, best = summary.log, summary.exported_validation
    content = {
        "format": FORMAT,
        "status": "finished",
        "task": summary.task,
        "spec_hash": record.spec_hash,
        **{name: getattr(record, name) for name in record.__dataclass_fields__},
        "rows": len(prepared.schedule),
        "validation_rows": len(prepared.validation),
        "answers": prepared.answers,
        "steps": log.steps,
        "exported_step": summary.step,
        "skipped": [{"where": s.where, "reason": s.reason, "rows": s.rows} for s in summary.data.skipped],
        "skipped_fraction": round(_skipped_fraction(prepared, log), 6),
        **({"metric": summary.words.measure} if summary.metric else {}),
        # Of pairs, the mean recall and the recalls.
        "accuracy": None if best is None else best.accuracy,
        "accuracy_by_type": {} if best is None else dict(best.accuracy_by_type),
        "loss": None if best is None else best.loss,
        "judgement": list(summary.judgement),
        "timing": {**timing, "train_s": log.seconds, "samples_per_s": log.samples_per_s},
    }
    manifest.write(RunDirectory(request.spec.output).manifest, content)
    return content


def _skipped_fraction(prepared: PreparedTraining, log: TrainingLog) -> float:
    """Return the share of the rows to train on that could not be read, or whose image could not be used."""
    planned, failed = len(prepared.schedule), prepared.rows.failed
    skipped = sum(log.skipped.values())
    # Of each epoch; the epochs can differ where storage stumbled.
    share = skipped / max(1, log.samples + skipped)
    return (failed + share * planned) / (failed + planned)


def log_result(content: Mapping[str, Any], spec: FinetuneSpec) -> RunResult:
    """Log the summary of a finished training, and give its result."""
    accuracy = content["accuracy"]
    if accuracy is None:
        logger.info("%d steps on %d rows, not validated → %s", content["steps"], content["rows"], spec.output)
    else:
        logger.info(
            "%s %.4f, loss %s, on %d validation rows, after step %d of %d → %s",
            content.get("metric") or WORDS[spec.task].measure,
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
        logger.warning("  %s: %s left out: %s", entry["where"], counted(entry["rows"], "row"), entry["reason"])
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
    """Return a command that runs as it is: the trained model on the images that it was validated on, or trained on."""
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
    for directory in spec.allow_local:
        words += ["--allow-local", directory]
    if spec.limit is not None and spec.validation is None:
        words += ["--limit", str(spec.limit)]
    words += ["--allow-http"] if spec.allow_http else []
    return shlex.join(words)


def _files(directory: str) -> list[tuple[str, str]]:
    """(name below the directory, URI) of its files, but for the private ones."""
    root = fsspec_for(directory)[1].rstrip("/") + "/"
    return [(fsspec_for(entry.uri)[1].removeprefix(root), entry.uri) for entry in list_files(directory)]


def amend(spec: FinetuneSpec) -> None:
    """Write the licence and the repository's name of this command into the card of a finished training."""
    if spec.licence is None and spec.push_to_hub is None:
        return

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

    with tempfile.TemporaryDirectory() as directory:
        for name, uri in _files(spec.output):
            if name not in _NOT_UPLOADED:
                copy_file(uri, str(Path(directory) / name))
        logger.info("uploaded to %s", upload(Path(directory), spec.push_to_hub))

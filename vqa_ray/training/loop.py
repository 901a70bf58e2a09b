"""A training from its first step to its last, or on from a checkpoint: steps, validation, checkpoints, early stop.

No Ray here: where rows come from and where checkpoints go is behind `TrainingContext`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import torch

from vqa_ray.errors import RunError
from vqa_ray.process import release_memory
from vqa_ray.storage.filesystem import write_bytes_atomic
from vqa_ray.training import distributed
from vqa_ray.training.checkpoint import load_state, save_state
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import StepBatch, StepBatches
from vqa_ray.training.log import StepRecord, TrainingLog, ValidationRecord, should_stop
from vqa_ray.training.optimizer import OptimizerConfig
from vqa_ray.training.step import DivergedError
from vqa_ray.training.task import Task
from vqa_ray.training.tasks import learner_of

_TOLD_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class TrainingPaths:
    """Where a training reads and writes, as URIs.

    Attributes:
        start: checkpoint directory that it starts from.
        validation_rows: the `LabelledRows` to validate on; None for no validation.
        best: directory of the best model so far, in `save_pretrained` layout.
        adapter: the same as an adapter alone; None where none is wanted.
        log: a JSON file of all steps and validations, written at the end.
        progress: a small JSON file that says how far it is.
        failure: a file that says why it stopped, when it had to.
    """

    start: str
    validation_rows: str | None
    best: str
    adapter: str | None
    log: str
    progress: str
    failure: str


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """All that decides a training but its rows.

    Attributes:
        task: what is learnt.
        epochs, steps_per_epoch: how long it lasts.
        rows: trained on per epoch. batch_size: rows per step, over all ranks.
        optimizer: rates and schedule.
        dropout: in the encoder.
        lora_rank: of the adapters; None trains all weights. base: what an adapter alone names as its base.
        auxiliary: number of classes of each auxiliary head.
        dtype: `float32`, `bfloat16`; None chooses for the device. export_dtype: of written weights.
        seed: of fresh adapters, heads and dropout.
        checkpoint_every: steps; None for epochs only.
        patience: epochs without a better accuracy until it stops; None never stops.
        places: where it reads and writes.
    """

    task: Task
    epochs: int
    steps_per_epoch: int
    rows: int
    batch_size: int
    optimizer: OptimizerConfig
    dropout: float
    lora_rank: int | None
    base: str
    auxiliary: tuple[int, ...]
    dtype: str | None
    export_dtype: str
    seed: int
    checkpoint_every: int | None
    patience: int | None
    places: TrainingPaths

    def planned_rows(self, step: int) -> int:
        """Rows of the global batch of a step, 0-based over the whole training."""
        return min(self.batch_size, self.rows - step % self.steps_per_epoch * self.batch_size)


class TrainingContext(Protocol):
    """The surroundings of one rank."""

    rank: int
    device: torch.device
    threads: int | None

    def training_rows(self, epoch: int, first_step: int) -> Iterable[pa.Table]:
        """This rank's share of an epoch's rows from a step on: DECODED with TRAINING_FIELDS, in order of step."""
        ...

    def validation_rows(self) -> Iterable[pa.Table]:
        """This rank's share of the validation rows."""
        ...

    def checkpoint(self) -> AbstractContextManager[Path | None]:
        """The directory of the last checkpoint, None when there is none."""
        ...

    def save(self, write: Callable[[Path], None], metrics: Mapping[str, Any]) -> None:
        """Make a checkpoint of what rank 0 writes into a directory."""
        ...


def train(course: TrainingConfig, ports: TrainingContext) -> None:
    """Train on this rank, together with the others; goes on from the last checkpoint.

    A training that cannot go on (its loss is no number) says so in `places.failure` and ends: another try from the
    same checkpoint would end in the same way.
    """
    if ports.threads is not None:
        torch.set_num_threads(ports.threads)
    try:
        _Worker(course, ports).run()
    except DivergedError as error:
        if ports.rank == 0:
            write_bytes_atomic(course.places.failure, str(error).encode())


class _Worker:
    """One rank's part of a training."""

    def __init__(self, course: TrainingConfig, ports: TrainingContext) -> None:
        self._course, self._ports = course, ports
        self._learner = learner_of(course, ports.device)
        self._trainer = self._learner.trainer
        held_out = course.places.validation_rows
        self._held_out = None if held_out is None else LabelledRows.load(held_out)
        self._log = TrainingLog()
        with ports.checkpoint() as directory:
            if directory is not None:
                self._log = TrainingLog.from_json(load_state(directory, self._trainer)["log"])
        self._begun_at = self._trainer.step
        self._told = time.monotonic()

    def run(self) -> None:
        """All epochs that are left."""
        course = self._course
        while self._trainer.step < self._trainer.total_steps and not should_stop(
            self._log.validations, course.patience
        ):
            epoch = self._trainer.step // course.steps_per_epoch
            self._train_epoch(epoch)
            if self._held_out is not None:
                self._log.add_validation(self._validate(epoch, self._held_out))
            best = self._log.best
            is_best = best is None or best is self._log.validations[-1]
            if is_best and self._ports.rank == 0:
                self._learner.export()
            self._save()
        # Also by a process that finds nothing left to train: the one before may have been killed just here.
        if self._ports.rank == 0:
            write_bytes_atomic(course.places.log, json.dumps(self._log.to_json()).encode())

    def _train_epoch(self, epoch: int) -> None:
        course = self._course
        steps = range(self._trainer.step, (epoch + 1) * course.steps_per_epoch)
        tables = self._ports.training_rows(epoch, steps.start)
        last = time.monotonic()
        with StepBatches(tables, self._learner.collate, steps) as feed:
            for fed in feed:
                done = self._trainer.train_step(fed.groups)
                skipped = self._skipped(fed, course.planned_rows(fed.step) - done.rows)
                now = time.monotonic()
                self._log.add_step(
                    StepRecord(
                        step=self._trainer.step,
                        epoch=epoch,
                        loss=done.loss,
                        learning_rate=done.learning_rate,
                        samples=done.rows,
                        seconds=now - last,
                        gradient_norm=done.gradient_norm,
                        skipped=skipped,
                    )
                )
                last = now
                self._tell()
                every = course.checkpoint_every
                if every and self._trainer.step % every == 0 and self._trainer.step < steps.stop:
                    self._save()

    def _skipped(self, fed: StepBatch, missing: int) -> dict[str, int]:
        """Error code → rows of the global batch that no rank could train on."""
        if missing == 0:
            return {}
        counts = Counter(code for mine in distributed.gathered([row.code for row in fed.skipped]) for code in mine)
        if counts.total() != missing:
            raise RunError(f"step {fed.step}: {missing} rows are missing, of which {counts.total()} in error")
        return dict(counts)

    def _validate(self, epoch: int, rows: LabelledRows) -> ValidationRecord:
        begun = time.monotonic()
        results = self._learner.validate(self._ports.validation_rows())
        found = self._learner.metrics(distributed.gathered(results), rows)
        return ValidationRecord(
            step=self._trainer.step,
            epoch=epoch,
            loss=found.loss,
            accuracy=found.accuracy,
            rows=found.rows,
            accuracy_by_type=found.by_type,
            rows_by_type=found.rows_by_type,
            skipped=found.skipped,
            seconds=time.monotonic() - begun,
        )

    def _save(self) -> None:
        self._ports.save(
            lambda directory: save_state(directory, self._trainer, {"log": self._log.to_json()}),
            {"step": self._trainer.step, "begun_at": self._begun_at},
        )

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told <= _TOLD_EVERY_S:
            return
        self._told = now
        release_memory()
        if self._ports.rank == 0:
            write_bytes_atomic(self._course.places.progress, json.dumps(self.progress()).encode())

    def progress(self) -> dict[str, Any]:
        """How far it is: task, step, steps, epoch, epochs, loss, samples_per_s, steps_per_s, accuracy (or None)."""
        best = self._log.best
        return {
            "task": self._course.task,
            "step": self._trainer.step,
            "steps": self._trainer.total_steps,
            "epoch": self._trainer.step // self._course.steps_per_epoch,
            "epochs": self._course.epochs,
            "loss": self._log.train[-1].loss,
            "samples_per_s": self._log.samples_per_s,
            "steps_per_s": self._log.steps / self._log.seconds,
            "accuracy": None if best is None else best.accuracy,
        }

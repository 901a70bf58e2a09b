"""A training from its first step to its last, or on from a checkpoint: steps, validation, checkpoints, early stop.

No Ray here: where rows come from and where checkpoints go is behind `TrainingContext`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import torch

from vqa_ray.errors import RunError
from vqa_ray.process import release_memory
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.training import distributed
from vqa_ray.training.checkpoint import load_state, save_state
from vqa_ray.training.config import TrainingConfig, TrainingContext
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import StepBatch, StepBatches
from vqa_ray.training.log import StepRecord, TrainingLog, ValidationRecord, should_stop
from vqa_ray.training.step import DivergedError
from vqa_ray.training.tasks import create_task

_PROGRESS_EVERY_S = 2.0


def train(config: TrainingConfig, context: TrainingContext) -> None:
    """Train on this worker, together with the others, from the last checkpoint on.

    A training that cannot go on (its loss is no number) writes the reason to `paths.failure` and ends: another try from
    the same checkpoint would end in the same way.
    """
    if context.threads is not None:
        torch.set_num_threads(context.threads)
    try:
        _Worker(config, context).run()
    except DivergedError as error:
        if context.rank == 0:
            write_bytes_atomic(config.paths.failure, str(error).encode())


class _Worker:
    """One worker of a training."""

    def __init__(self, config: TrainingConfig, context: TrainingContext) -> None:
        self._config, self._context = config, context
        self._task = create_task(config, context.device)
        self._trainer = self._task.trainer
        validation_rows = config.paths.validation_rows
        self._validation_rows = None if validation_rows is None else LabelledRows.load(validation_rows)
        self._log = TrainingLog()
        with context.checkpoint() as directory:
            if directory is not None:
                self._log = TrainingLog.from_json(load_state(directory, self._trainer)["log"])
        self._begun_at = self._trainer.step
        self._written = time.monotonic()

    def run(self) -> None:
        """Train the epochs that are left."""
        config = self._config
        while self._trainer.step < self._trainer.total_steps and not should_stop(
            self._log.validations, config.patience
        ):
            epoch = self._trainer.step // config.steps_per_epoch
            self._train_epoch(epoch)
            if self._validation_rows is not None:
                self._log.add_validation(self._validate(epoch, self._validation_rows))
            best = self._log.best
            is_best = best is None or best is self._log.validations[-1]
            if is_best and self._context.rank == 0:
                self._task.export()
            self._save()
        # Also by a process that finds nothing left to train: the one before may have been killed just here.
        if self._context.rank == 0:
            write_bytes_atomic(config.paths.log, json.dumps(self._log.to_json()).encode())

    def _train_epoch(self, epoch: int) -> None:
        config = self._config
        steps = range(self._trainer.step, (epoch + 1) * config.steps_per_epoch)
        tables = self._context.training_rows(epoch, steps.start)
        last = time.monotonic()
        with StepBatches(tables, self._task.collate, steps) as batches:
            for batch in batches:
                done = self._trainer.train_step(batch.groups)
                skipped = self._skipped(batch, config.planned_rows(batch.step) - done.rows)
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
                self._write_progress()
                every = config.checkpoints.every
                if every and self._trainer.step % every == 0 and self._trainer.step < steps.stop:
                    self._save()

    def _skipped(self, batch: StepBatch[Any], missing: int) -> dict[str, int]:
        """Count the rows of the global batch that no worker could train on, by error code."""
        if missing == 0:
            return {}
        counts = Counter(code for mine in distributed.gathered([row.code for row in batch.skipped]) for code in mine)
        if counts.total() != missing:
            raise RunError(f"step {batch.step}: {missing} rows are missing, of which {counts.total()} in error")
        return dict(counts)

    def _validate(self, epoch: int, rows: LabelledRows) -> ValidationRecord:
        begun = time.monotonic()
        results = self._task.validate(self._context.validation_rows())
        metrics = self._task.metrics(distributed.gathered(results), rows)
        return ValidationRecord(
            step=self._trainer.step,
            epoch=epoch,
            loss=metrics.loss,
            accuracy=metrics.accuracy,
            rows=metrics.rows,
            accuracy_by_type=metrics.by_type,
            rows_by_type=metrics.rows_by_type,
            skipped=metrics.skipped,
            seconds=time.monotonic() - begun,
        )

    def _save(self) -> None:
        self._context.save(
            lambda directory: save_state(directory, self._trainer, {"log": self._log.to_json()}),
            {"step": self._trainer.step, "begun_at": self._begun_at},
        )

    def _write_progress(self) -> None:
        now = time.monotonic()
        if now - self._written <= _PROGRESS_EVERY_S:
            return
        self._written = now
        release_memory()
        if self._context.rank == 0:
            write_bytes_atomic(self._config.paths.progress, json.dumps(self.progress()).encode())

    def progress(self) -> dict[str, Any]:
        """Return how far the training is: steps and epochs, loss, rates, the best accuracy so far (or None)."""
        best = self._log.best
        return {
            "task": self._config.task,
            "step": self._trainer.step,
            "steps": self._trainer.total_steps,
            "epoch": self._trainer.step // self._config.steps_per_epoch,
            "epochs": self._config.epochs,
            "loss": self._log.train[-1].loss,
            "samples_per_s": self._log.samples_per_s,
            "steps_per_s": self._log.steps / self._log.seconds,
            "accuracy": None if best is None else best.accuracy,
        }

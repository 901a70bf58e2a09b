"""What a training is given: its task, rates, precision, places, and the process around it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

Task: TypeAlias = Literal["vqa", "contrastive", "chat"]
Schedule: TypeAlias = Literal["linear", "cosine"]
Metric: TypeAlias = Literal["vqa-accuracy", "exact-match", "anls", "relaxed-accuracy", "loss"]

VQA: Final = "vqa"
"""Answers to questions about images: a ViLT."""

CONTRASTIVE: Final = "contrastive"
"""Which caption belongs to which image: a CLIP."""

CHAT: Final = "chat"
"""Conversations about images: a chat model."""


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """Rates of AdamW and their schedule; the defaults are the published fine-tuning recipe of ViLT.

    Attributes:
        learning_rate: of the encoder at the top of the schedule.
        head_multiplier: the classifier, auxiliary heads and the projector of a chat model learn this many times faster.
        weight_decay: on matrices only, never on biases and norms.
        warmup_fraction: of all steps, linear from 0; then down to 0 as `schedule` says.
        gradient_clip: largest global norm of the gradient.
        schedule: `linear`, or half a period of a `cosine`.
    """

    learning_rate: float = 1e-4
    head_multiplier: float = 10.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-8
    warmup_fraction: float = 0.1
    gradient_clip: float = 1.0
    schedule: Schedule = "linear"


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank adapters.

    Attributes:
        rank: of the product of two matrices that is added to a weight.
        alpha: the product is multiplied by `alpha / rank`.
        dropout: of the adapters' input.
        base: the checkpoint that an adapter exported alone names as its base.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    base: str | None = None


@dataclass(frozen=True, slots=True)
class ChatConfig:
    """What only the training of a chat model is given.

    Attributes:
        model: reference of the checkpoint, at its commit; its weights are read from there by each process.
        revisions: of the remote references that were read.
        train_projector: whether the projector is trained beside the language model.
        gradient_checkpointing: whether activations are computed again in the backward pass.
        max_pixels: largest area of an image; None for the checkpoint's own.
        max_tokens: of a row; None for what the model reads.
        tokens_per_pass: of one forward; None chooses for the device.
        metric: of generated answers.
        validation_answers: rows whose last answer is generated, at most.
        max_new_tokens: of a generated answer.
    """

    model: str
    revisions: Mapping[str, str]
    train_projector: bool = False
    gradient_checkpointing: bool = False
    max_pixels: int | None = None
    max_tokens: int | None = None
    tokens_per_pass: int | None = None
    metric: Metric = "vqa-accuracy"
    validation_answers: int = 1_000
    max_new_tokens: int = 128


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """When a checkpoint is written, and how long it stays.

    Attributes:
        every: steps between two checkpoints; None for the end of each epoch alone.
        keep: how many of the last ones stay.
    """

    every: int | None = None
    keep: int = 2


@dataclass(frozen=True, slots=True)
class TrainingPaths:
    """Where a training reads and writes, as URIs.

    Attributes:
        start: directory of the model that the training starts from, written after `rows` and `validation_rows`.
        rows: the `LabelledRows` to train on.
        validation_rows: those to validate on; None for no validation.
        checkpoints: directory of the checkpoints.
        best: directory of the best model so far, in `save_pretrained` layout.
        adapter: directory of the adapter alone; None where none is wanted.
        results: a Parquet file of the validation rows as the best model of a chat training answered them.
        log: a JSON file of all steps and validations, written at the end.
        progress: a small JSON file that says how far the training is.
        failure: a file that says why the training stopped, where it had to.
    """

    start: str
    rows: str
    validation_rows: str | None
    checkpoints: str
    best: str
    adapter: str | None
    results: str
    log: str
    progress: str
    failure: str

    @classmethod
    def below(cls, root: str, *, validates: bool, adapter: bool) -> Self:
        """Return the paths of a training in a directory of its own.

        Args:
            root: the directory, an absolute URI without a slash at its end: Ray Train gives each worker a working
                directory of its own.
            validates: whether there are rows to validate on.
            adapter: whether the adapter is wanted alone.
        """
        return cls(
            start=f"{root}/start",
            rows=f"{root}/rows.parquet",
            validation_rows=f"{root}/validation.parquet" if validates else None,
            checkpoints=f"{root}/checkpoints",
            best=f"{root}/best",
            adapter=f"{root}/adapter" if adapter else None,
            results=f"{root}/results.parquet",
            log=f"{root}/log.json",
            progress=f"{root}/progress.json",
            failure=f"{root}/failure.txt",
        )


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """All that decides a training but its rows.

    Attributes:
        task: what is learnt.
        epochs: passes over the rows.
        steps_per_epoch: optimiser steps of each.
        rows: trained on per epoch.
        batch_size: rows per step, over all workers.
        optimizer: rates and schedule.
        dropout: in the encoder.
        lora: adapters to train instead of all weights; None trains all weights.
        auxiliary: number of classes of each auxiliary head.
        dtype: `float32` or `bfloat16`; None chooses for the device.
        export_dtype: of the written weights.
        seed: of fresh adapters, heads and dropout.
        patience: epochs without a better accuracy until the training stops; None never stops.
        checkpoints: when they are written.
        paths: where the training reads and writes.
        chat: what only a chat model is given.
    """

    task: Task
    epochs: int
    steps_per_epoch: int
    rows: int
    batch_size: int
    optimizer: OptimizerConfig
    dropout: float
    lora: LoraConfig | None
    auxiliary: tuple[int, ...]
    dtype: str | None
    export_dtype: str
    seed: int
    patience: int | None
    checkpoints: CheckpointPolicy
    paths: TrainingPaths
    chat: ChatConfig | None = None

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all epochs."""
        return self.epochs * self.steps_per_epoch

    def planned_rows(self, step: int) -> int:
        """Return the number of rows of the global batch of a step, 0-based over the whole training."""
        return min(self.batch_size, self.rows - step % self.steps_per_epoch * self.batch_size)


class TrainingContext(Protocol):
    """The process around a training: which worker it is, where its rows come from and its checkpoints go."""

    rank: int
    device: torch.device
    threads: int | None

    def training_rows(self, epoch: int, first_step: int) -> Iterable[pa.Table]:
        """Yield this worker's rows of an epoch from a step on: DECODED with TRAINING_FIELDS, in order of step."""
        ...

    def validation_rows(self) -> Iterable[pa.Table]:
        """Yield this worker's share of the validation rows."""
        ...

    def checkpoint(self) -> AbstractContextManager[Path | None]:
        """Open the directory of the last checkpoint; None where there is none."""
        ...

    def save(self, write: Callable[[Path], None], metrics: Mapping[str, Any]) -> None:
        """Make a checkpoint of what rank 0 writes into a directory."""
        ...

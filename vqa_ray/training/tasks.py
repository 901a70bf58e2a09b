"""What a training learns, as its loop sees it: batches of rows, steps, validations, and a model to write.

A task is imported by its name when it is trained: those of chat models take seconds to import.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import torch

from vqa_ray.training.config import CHAT, CONTRASTIVE, VQA, Task, TrainingConfig
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow
from vqa_ray.training.step import Trainer
from vqa_ray.training.validation import ValidationMetrics


class TrainingTask(Protocol):
    """The network of one worker, and all that depends on what it learns."""

    @property
    def trainer(self) -> Trainer[Any]:
        """Network and optimiser."""
        ...

    def collate(self, table: pa.Table) -> tuple[Sequence[Any], Sequence[SkippedRow]]:
        """Make groups of rows for the trainer; see `step_feed.Collate`."""
        ...

    def validate(self, tables: Iterable[pa.Table]) -> pa.Table:
        """Run the network over this worker's share of the validation rows, apart from the other workers.

        Args:
            tables: DECODED rows with TRAINING_FIELDS, cut anywhere, in any order.

        Returns:
            A row of the task's own results for each row.
        """
        ...

    def metrics(self, results: Sequence[pa.Table], rows: LabelledRows) -> ValidationMetrics:
        """Measure the results of all workers.

        Args:
            results: of each worker, what `validate` returned.
            rows: what was validated on.

        Raises:
            RunError: a row is missing, came twice or is none of `rows`; none could be measured; the loss is not finite.
        """
        ...

    def export(self) -> None:
        """Write the model as it is to the paths of the training; for one worker alone to call."""
        ...


# `module:class`, below `vqa_ray.training`.
_TASKS: Mapping[Task, str] = {
    VQA: "vqa.task:VqaTask",
    CONTRASTIVE: "contrastive.task:ContrastiveTask",
    CHAT: "chat.task:ChatTask",
}


def create_task(config: TrainingConfig, device: torch.device) -> TrainingTask:
    """Build what a config trains, from the checkpoint that it starts from.

    Raises:
        ModelLoadError: the checkpoint is not whole.
    """
    module, _, kind = _TASKS[config.task].partition(":")
    made: TrainingTask = getattr(importlib.import_module(f"vqa_ray.training.{module}"), kind)(config, device)
    return made

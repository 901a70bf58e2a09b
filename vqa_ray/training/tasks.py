"""What a training learns, as its loop sees it: batches of rows, steps, validations, and a model to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import torch

from vqa_ray.training.chat.task import ChatTask
from vqa_ray.training.config import CHAT, CONTRASTIVE, VQA, Task, TrainingConfig
from vqa_ray.training.contrastive.task import ContrastiveTask
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow
from vqa_ray.training.step import Trainer
from vqa_ray.training.validation import ValidationMetrics
from vqa_ray.training.vqa.task import VqaTask


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


_TASKS: Mapping[Task, type[VqaTask | ContrastiveTask | ChatTask]] = {
    VQA: VqaTask,
    CONTRASTIVE: ContrastiveTask,
    CHAT: ChatTask,
}


def create_task(config: TrainingConfig, device: torch.device) -> TrainingTask:
    """Build what a config trains, from the checkpoint that it starts from.

    Raises:
        ModelLoadError: the checkpoint is not whole.
    """
    return _TASKS[config.task](config, device)

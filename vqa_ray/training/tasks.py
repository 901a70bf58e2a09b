"""What a training learns, as its course sees it: rows to batches, steps, judgements, and a model to write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import torch

from vqa_ray.training.data.batch import Collate
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.step import Trainer
from vqa_ray.training.task import CONTRASTIVE
from vqa_ray.training.vqa.validate import ValidationMetrics

if TYPE_CHECKING:
    from vqa_ray.training.loop import TrainingConfig


class Learner(Protocol):
    """The network of one rank, and all that depends on what it learns."""

    @property
    def trainer(self) -> Trainer:
        """Network and optimiser."""
        ...

    @property
    def collate(self) -> Collate:
        """What makes batches of rows."""
        ...

    def validate(self, tables: Iterable[pa.Table]) -> pa.Table:
        """What is to be known of this rank's share of the validation rows, one row for each; without the other ranks.

        Args:
            tables: DECODED rows with TRAINING_FIELDS, cut anywhere, in any order.
        """
        ...

    def metrics(self, results: Sequence[pa.Table], rows: LabelledRows) -> ValidationMetrics:
        """What the validation came to.

        Args:
            results: of all ranks, what `validate` gave.
            rows: what was validated on.

        Raises:
            RunError: a row is missing, came twice or is none of `rows`; no row could be judged; the loss is no number.
        """
        ...

    def export(self) -> None:
        """Write the model as it is to the places of the course; for one rank alone to call."""
        ...


def learner_of(course: TrainingConfig, device: torch.device) -> Learner:
    """What a course trains, from the checkpoint that it starts from.

    Raises:
        ModelLoadError: the checkpoint is not whole.
    """
    if course.task == CONTRASTIVE:
        from vqa_ray.training.contrastive.task import PairLearner

        return PairLearner(course, device)
    from vqa_ray.training.vqa.task import AnswerLearner

    return AnswerLearner(course, device)

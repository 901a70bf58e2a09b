"""Learning which caption belongs to which image: a CLIP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from vqa_ray.models.layers.device import choose_dtype
from vqa_ray.training.contrastive.batch import collate_pairs
from vqa_ray.training.contrastive.initialise import export_pairs, start_pairs_from
from vqa_ray.training.contrastive.network import PairNetwork
from vqa_ray.training.contrastive.trainer import PairTrainer
from vqa_ray.training.contrastive.validate import pair_metrics, validate_pairs
from vqa_ray.training.data.batch import Collate
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.tokenizer import question_tokenizer
from vqa_ray.training.vqa.validate import ValidationMetrics

if TYPE_CHECKING:
    from vqa_ray.training.loop import TrainingConfig


class PairLearner:
    """See `Learner`."""

    def __init__(self, course: TrainingConfig, device: torch.device) -> None:
        self._course = course
        self._start = start_pairs_from(course.places.start, dropout=course.dropout)
        transform = self._start.transform
        self._network = PairNetwork(
            self._start.model, transform.mean, transform.std, auxiliary=course.auxiliary, seed=course.seed
        ).to(device)
        self.trainer = PairTrainer(
            self._network,
            course.optimizer,
            course.epochs * course.steps_per_epoch,
            choose_dtype(course.dtype, device),
            seed=course.seed,
        )
        self._tokenize = question_tokenizer(self._start.tokenizer, self._start.max_text_tokens)
        self.collate: Collate = partial(
            collate_pairs,
            tokenize=self._tokenize,
            steps_per_epoch=course.steps_per_epoch,
            seed=course.seed,
            pin=device.type == "cuda",
        )

    def validate(self, tables: Iterable[pa.Table]) -> pa.Table:
        """PAIR_RESULTS; see `Learner`."""
        return validate_pairs(tables, self.trainer, self._tokenize)

    def metrics(self, results: Sequence[pa.Table], rows: LabelledRows) -> ValidationMetrics:
        """See `Learner`."""
        scale = float(self._network.model.logit_scale.detach().exp())
        return pair_metrics(pa.concat_tables(results), rows, scale, self._course.batch_size)

    def export(self) -> None:
        """See `Learner`."""
        export_pairs(self._course.places.best, self._start, self._course.export_dtype)

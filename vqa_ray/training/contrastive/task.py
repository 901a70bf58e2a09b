"""Learning which caption belongs to which image: a CLIP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import pyarrow as pa
import torch

from vqa_ray.models.layers.device import choose_dtype
from vqa_ray.training.config import CONTRASTIVE, TrainingConfig
from vqa_ray.training.contrastive.batch import collate_pairs
from vqa_ray.training.contrastive.export import export_pairs
from vqa_ray.training.contrastive.initialise import start_pairs_from
from vqa_ray.training.contrastive.network import PairNetwork
from vqa_ray.training.contrastive.trainer import PairTrainer
from vqa_ray.training.contrastive.validate import pair_metrics, validate_pairs
from vqa_ray.training.data.batch import Group
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow
from vqa_ray.training.start import describe_start
from vqa_ray.training.tokenizer import question_tokenizer
from vqa_ray.training.validation import ValidationMetrics


class ContrastiveTask:
    """See `TrainingTask`."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self._config = config
        self._start = start_pairs_from(describe_start(config.paths.start, CONTRASTIVE), dropout=config.dropout)
        transform = self._start.transform
        self._network = PairNetwork(
            self._start.model, transform.mean, transform.std, auxiliary=config.auxiliary, seed=config.seed
        ).to(device)
        self.trainer = PairTrainer(
            self._network,
            config.optimizer,
            config.total_steps,
            choose_dtype(config.dtype, device),
            seed=config.seed,
        )
        self._tokenize = question_tokenizer(self._start.tokenizer, self._start.max_text_tokens)
        self._collate = partial(
            collate_pairs,
            tokenize=self._tokenize,
            steps_per_epoch=config.steps_per_epoch,
            seed=config.seed,
            pin=device.type == "cuda",
        )

    def collate(self, table: pa.Table) -> tuple[list[Group], list[SkippedRow]]:
        """See `TrainingTask`."""
        return [group for _, group in self._collate(table)], []

    def validate(self, tables: Iterable[pa.Table]) -> pa.Table:
        """Return PAIR_RESULTS; see `TrainingTask`."""
        return validate_pairs(tables, self.trainer, self._tokenize)

    def metrics(self, results: Sequence[pa.Table], rows: LabelledRows) -> ValidationMetrics:
        """See `TrainingTask`."""
        scale = float(self._network.model.logit_scale.detach().exp())
        return pair_metrics(pa.concat_tables(results), rows, scale, self._config.batch_size)

    def export(self) -> None:
        """See `TrainingTask`."""
        export_pairs(self._config.paths.best, self._start, self._config.export_dtype)

"""Learning to answer questions about images: a ViLT over an answer vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import pyarrow as pa
import torch

from vqa_ray.models.layers.device import choose_dtype
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.config import TrainingConfig
from vqa_ray.training.data.batch import Group, collate_table
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow
from vqa_ray.training.start import describe_start
from vqa_ray.training.tokenizer import question_tokenizer
from vqa_ray.training.validation import ValidationMetrics
from vqa_ray.training.vqa.export import export
from vqa_ray.training.vqa.initialise import start_from
from vqa_ray.training.vqa.lora import adapt
from vqa_ray.training.vqa.trainer import VqaTrainer
from vqa_ray.training.vqa.validate import metrics_of, validate


class VqaTask:
    """See `TrainingTask`."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self._config = config
        info = describe_start(config.paths.start)
        vocabulary = info.vocabulary
        assert vocabulary is not None
        start = start_from(info, vocabulary, dropout=config.dropout)
        self._labels, self._tokenizer, self._transform = vocabulary.labels, start.tokenizer, start.transform
        self._model = start.model if config.lora is None else adapt(start.model, config.lora, seed=config.seed)
        network = ViltNetwork(self._model, start.transform.mean, start.transform.std).to(device)
        self.trainer = VqaTrainer(
            network,
            config.optimizer,
            config.total_steps,
            choose_dtype(config.dtype, device),
            auxiliary=config.auxiliary,
            seed=config.seed,
        )
        self._tokenize = question_tokenizer(start.tokenizer, start.max_text_tokens)
        self._collate = partial(
            collate_table, tokenize=self._tokenize, num_answers=len(self._labels), pin=device.type == "cuda"
        )

    def collate(self, table: pa.Table) -> tuple[list[Group], list[SkippedRow]]:
        """See `TrainingTask`."""
        return [group for _, group in self._collate(table)], []

    def validate(self, tables: Iterable[pa.Table]) -> pa.Table:
        """Return RESULTS; see `TrainingTask`."""
        return validate(tables, self.trainer, self._tokenize, self._labels)

    def metrics(self, results: Sequence[pa.Table], rows: LabelledRows) -> ValidationMetrics:
        """See `TrainingTask`."""
        return metrics_of(pa.concat_tables(results), rows)

    def export(self) -> None:
        """See `TrainingTask`."""
        paths, parts = self._config.paths, (self._model, self._tokenizer, self._transform)
        export(paths.best, *parts, dtype=self._config.export_dtype)
        if paths.adapter is not None:
            export(paths.adapter, *parts, dtype=self._config.export_dtype, adapter=True)

"""Learning to answer questions about images: a ViLT over an answer vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from vqa_ray.models.layers.device import choose_dtype
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.data.batch import Collate, collate_table
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.export import export
from vqa_ray.training.tokenizer import question_tokenizer
from vqa_ray.training.vqa.initialise import describe_start, start_from
from vqa_ray.training.vqa.lora import LoraOptions, adapt
from vqa_ray.training.vqa.trainer import VqaTrainer
from vqa_ray.training.vqa.validate import ValidationMetrics, metrics_of, validate

if TYPE_CHECKING:
    from vqa_ray.training.loop import TrainingConfig


class AnswerLearner:
    """See `Learner`."""

    def __init__(self, course: TrainingConfig, device: torch.device) -> None:
        self._course = course
        vocabulary = describe_start(course.places.start).vocabulary
        assert vocabulary is not None
        start = start_from(course.places.start, vocabulary, dropout=course.dropout)
        self._labels, self._tokenizer, self._transform = vocabulary.labels, start.tokenizer, start.transform
        self._model = start.model
        if course.lora_rank is not None:
            self._model = adapt(start.model, LoraOptions(rank=course.lora_rank), seed=course.seed, base=course.base)
        network = ViltNetwork(self._model, start.transform.mean, start.transform.std).to(device)
        self.trainer = VqaTrainer(
            network,
            course.optimizer,
            course.epochs * course.steps_per_epoch,
            choose_dtype(course.dtype, device),
            auxiliary=course.auxiliary,
            seed=course.seed,
        )
        self._tokenize = question_tokenizer(start.tokenizer, start.max_text_tokens)
        self.collate: Collate = partial(
            collate_table, tokenize=self._tokenize, num_answers=len(self._labels), pin=device.type == "cuda"
        )

    def validate(self, tables: Iterable[pa.Table]) -> pa.Table:
        """RESULTS; see `Learner`."""
        return validate(tables, self.trainer, self._tokenize, self._labels)

    def metrics(self, results: Sequence[pa.Table], rows: LabelledRows) -> ValidationMetrics:
        """See `Learner`."""
        return metrics_of(pa.concat_tables(results), rows)

    def export(self) -> None:
        """See `Learner`."""
        places, parts = self._course.places, (self._model, self._tokenizer, self._transform)
        export(places.best, *parts, dtype=self._course.export_dtype)
        if places.adapter is not None:
            export(places.adapter, *parts, dtype=self._course.export_dtype, adapter=True)

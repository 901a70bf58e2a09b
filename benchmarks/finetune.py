"""Training steps against the Hugging Face guide's way, with its Trainer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import checkpoints, photos, prepared
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, rates, ratios
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.layers.device import DTYPES, choose_device, choose_dtype
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.data.batch import Sample, collate
from vqa_ray.training.start import describe_start
from vqa_ray.training.tokenizer import question_tokenizer
from vqa_ray.training.vqa.initialise import start_from
from vqa_ray.training.vqa.trainer import VqaTrainer

_ROWS, _BATCH, _ROUNDS = 24, 8, 5


def measure(settings: Settings) -> Measured:
    """Rows per second of both ways and their ratio."""
    path = checkpoints.vilt_b32(settings.quick)
    count, rounds = settings.pick(_ROWS, 8), settings.pick(_ROUNDS, 1)
    images, texts = photos.decoded(count), photos.questions(count)
    labels = [index * 7 % 100 for index in range(count)]
    stock = _Stock(path, images, texts, labels)
    device = choose_device(None)
    names = list(dict.fromkeys(("float32", str(choose_dtype(None, device)).removeprefix("torch."))))
    ours = {name: _Ours(path, images, texts, labels, name) for name in names}
    contestants = {"stock": stock.train} | {name: own.train for name, own in ours.items()}
    measured = by_turns(contestants, rounds)
    speed = {name: rates(count, values) for name, values in measured.items()}
    required = {"float32": 1.3, "bfloat16": 2.2}
    figures = [
        figure(
            f"training ViLT-B/32, mixed shapes: Hugging Face Trainer, float32, batches of {_BATCH}",
            speed["stock"],
            "rows/s",
        )
    ]
    for name in names:
        figures += [
            figure(f"training ViLT-B/32, mixed shapes: ours, {name}, batches of {_BATCH}", speed[name], "rows/s"),
            figure(
                f"ours, {name}, to Hugging Face Trainer",
                ratios(speed[name], speed["stock"]),
                "×",
                at_least=required[name],
            ),
        ]
    return Measured(figures, _notes(count, rounds))


class _Stock:
    """The guide's fine-tuning: features made beforehand by the processor, padded by the collator; soft targets."""

    def __init__(self, path: Path, images: Sequence[Any], texts: Sequence[str], labels: Sequence[int]) -> None:
        from transformers import ViltForQuestionAnswering, ViltProcessor

        self._processor: Any = ViltProcessor.from_pretrained(path, local_files_only=True)
        self._model = ViltForQuestionAnswering.from_pretrained(path)
        answers = self._model.config.num_labels
        self._features = [
            {**self._processor(image, text, return_tensors="pt"), "labels": torch.eye(answers)[label]}
            for image, text, label in zip(images, texts, labels, strict=True)
        ]

    def train(self) -> float:
        """Seconds of one pass, as the Trainer's own steps begin and end."""
        from transformers import Trainer as HfTrainer
        from transformers import TrainerCallback, TrainingArguments

        class Clock(TrainerCallback):
            """When the first step began and the last ended."""

            begun = ended = 0.0

            def on_train_begin(self, *_: Any, **__: Any) -> None:
                self.begun = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                self.ended = time.perf_counter()

        clock = Clock()
        arguments = TrainingArguments(
            output_dir="unused",
            per_device_train_batch_size=_BATCH,
            num_train_epochs=1,
            learning_rate=5e-5,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            remove_unused_columns=False,
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = HfTrainer(
            model=self._model,
            args=arguments,
            train_dataset=self._features,
            data_collator=self._collate,
            callbacks=[clock],
        )
        trainer.train()
        return clock.ended - clock.begun

    def _collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        text = self._processor.tokenizer.pad(
            [{name: row[name][0] for name in ("input_ids", "attention_mask", "token_type_ids")} for row in rows],
            return_tensors="pt",
        )
        sizes = [row["pixel_values"].shape[2:] for row in rows]
        height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
        pixels = torch.zeros(len(rows), 3, height, width)
        mask = torch.zeros(len(rows), height, width, dtype=torch.long)
        for place, (row, size) in enumerate(zip(rows, sizes, strict=True)):
            pixels[place, :, : size[0], : size[1]] = row["pixel_values"][0]
            mask[place, : size[0], : size[1]] = 1
        return {
            **text,
            "pixel_values": pixels,
            "pixel_mask": mask,
            "labels": torch.stack([row["labels"] for row in rows]),
        }


class _Ours:
    """`vqa_ray.training` on the same rows, images made ready beforehand too."""

    def __init__(
        self, path: Path, images: Sequence[Any], texts: Sequence[str], labels: Sequence[int], dtype: str
    ) -> None:
        vocabulary = Checkpoint.open(str(path)).vocabulary
        assert vocabulary is not None
        start = start_from(describe_start(str(path)), vocabulary)
        tokenize = question_tokenizer(start.tokenizer, start.max_text_tokens)
        sized = prepared.sized(prepared.arrays(images), Checkpoint.open(str(path)).transform)
        self._answers = len(vocabulary.labels)
        self._samples = [
            Sample(image, tokenize(text), {label: 1.0}) for image, text, label in zip(sized, texts, labels, strict=True)
        ]
        network = ViltNetwork(start.model, start.transform.mean, start.transform.std).to(choose_device(None))
        self._trainer = VqaTrainer(network, OptimizerConfig(), 1_000_000, DTYPES[dtype])

    def train(self) -> float:
        """Seconds of one pass."""
        begun = time.perf_counter()
        for rows in _batches(self._samples):
            self._trainer.train_step(collate(rows, self._answers))
        return time.perf_counter() - begun


def _batches(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), _BATCH):
        yield samples[start : start + _BATCH]


def _notes(count: int, rounds: int) -> list[str]:
    return [
        photos.source(),
        f"{count} rows a round in batches of {_BATCH}, {rounds} rounds; ViLT-B/32, random weights, 3,129 answers. "
        "Both start from images that their own preprocessing has made ready, and are timed over collating, forward, "
        "backward and update. The guide's collator fails on mixed shapes; here it pads images and masks to the largest "
        "of the batch, as the processor does.",
        "The Hugging Face Trainer computes in float32, as it does unless told otherwise.",
    ]

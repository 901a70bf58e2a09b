"""The options of `vqa-ray finetune`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from vqa_ray.jobs.spec.base import JobSpec, Workers, bounds
from vqa_ray.jobs.spec.field import option, option_name
from vqa_ray.training.config import CONTRASTIVE, Task

SCRATCH = "scratch"

Fraction = Annotated[float, Field(ge=0, lt=1)]

# What only answers have; and what is usual for captions, where it is not what is usual for answers.
_OF_ANSWERS = (
    "question",
    "truth",
    "vocabulary",
    "min_answer_count",
    "max_answers",
    "lora",
    "lora_rank",
    "lora_export",
)
_USUAL_FOR_CAPTIONS = {"learning_rate": 1e-5, "weight_decay": 0.1, "dropout": 0.0, "augment": "none"}


class FinetuneSpec(JobSpec):
    """Train ViLT on questions and answers of your own, or CLIP on captions, for every other command to load."""

    group: ClassVar[str] = "Training"

    task: Task = option(
        "Task to learn: vqa, to answer questions; contrastive, to match captions and images.",
        "vqa",
        omit_default_from_fingerprint=True,
    )

    input: str = option("Images to train on, with questions and answers or captions (path, s3://, gs://).", unit="URI")
    output: str = option(
        "Directory of the model and its report; the same command again resumes.", unit="URI", affects_result=False
    )
    model: str = option(
        "Checkpoint to start from: org/name@revision, a directory or URI, bundled:NAME, or scratch.", unit="MODEL"
    )
    validation: str | None = option("Rows to validate on; by default a fraction of the input.", None, unit="URI")
    validation_fraction: Fraction = option(
        "Fraction of the images to validate on where --validation is not given; 0 for none.", 0.1, unit="0..1"
    )
    limit: int | None = option("Read only the first rows of the input, for a try.", None, unit="ROWS", ge=1)
    question: str | None = option(
        "Question to ask of every image, if the input has labels and no questions (photos/LABEL/*.jpg).",
        None,
        unit="TEXT",
        min_length=1,
        omit_default_from_fingerprint=True,
    )
    truth: str | None = option(
        "Column of the right answers; by default annotator_answers, answer, label or labels.", None, unit="COLUMN"
    )
    auxiliary: list[str] = option(
        "A category column (product type, colour) to learn beside answers or captions. Repeatable.", [], unit="COLUMN"
    )
    vocabulary: str | None = option(
        "File of the answers to learn, one per line; by default made from the training answers.", None, unit="FILE"
    )
    min_answer_count: int | None = option(
        "Fewest occurrences of an answer in the vocabulary; by default by the number of rows: 1 below 1,000, 2 below "
        "10,000, 4 below 100,000, else 9.",
        None,
        unit="N",
        ge=1,
    )
    max_answers: int | None = option("Largest answer vocabulary.", None, unit="N", ge=2)
    epochs: int = option("Passes over the training rows.", 10, unit="N", ge=1)
    batch_size: int = option("Rows per optimiser step, over all workers.", 256, unit="ROWS", ge=1)
    learning_rate: float = option(
        "Learning rate of the encoder at the top of the schedule; 1e-5 for captions.", 1e-4, unit="RATE", gt=0
    )
    head_multiplier: float = option(
        "Factor of the learning rate for the heads of answers and auxiliary labels.", 10.0, unit="TIMES", gt=0
    )
    weight_decay: float = option(
        "Weight decay of matrices, not of biases and norms; 0.1 for captions.",
        0.01,
        unit="RATE",
        ge=0,
    )
    warmup_fraction: Fraction = option(
        "Fraction of the steps in which the rate rises; then it falls linearly to 0.",
        0.1,
        unit="0..1",
    )
    gradient_clip: float = option("Largest norm of the gradient.", 1.0, unit="NORM", gt=0)
    dropout: Fraction = option("Dropout in the encoder; 0 for captions.", 0.1, unit="0..1")
    augment: Literal["randaug", "geometric", "none"] = option(
        "RandAugment with all its operations, only those that move pixels and leave colours, or none, as for captions.",
        "randaug",
    )
    augment_operations: int = option("RandAugment operations per image.", 2, unit="N", ge=1, le=10)
    augment_magnitude: int = option("Magnitude of the RandAugment operations.", 9, unit="0..30", ge=0, le=30)
    seed: int = option("Seed of the order of rows, fresh weights, dropout and augmentation.", 0, unit="N", ge=0)
    lora: bool = option("Train low-rank adapters instead of all weights.", False)
    lora_rank: int = option("Rank of the adapters.", 16, unit="N", ge=1)
    lora_export: Literal["merged", "adapter"] = option("Write the merged model, or the adapter alone.", "merged")
    dtype: Literal["float32", "bfloat16"] | None = option(
        "Precision of the model; by default the best of the device.",
        None,
    )
    export_dtype: Literal["float32", "bfloat16"] = option("Precision of the written weights.", "float32")
    shape: dict[str, str] = option(
        "Size of a model from scratch: hidden_size, layers, heads, intermediate_size, patch_size, max_text_tokens, and "
        "shortest_edge, or for captions image_size, text_hidden_size, text_layers, text_heads, projection_size. "
        "Repeatable.",
        {},
        unit="NAME=N",
    )
    vocab_size: int = option("Largest WordPiece vocabulary of a model from scratch.", 8_000, unit="N", ge=100)
    patience: int | None = option(
        "Stop after this many epochs without a better validation accuracy.", None, unit="EPOCHS", ge=1
    )
    checkpoint_every: int | None = option(
        "Optimiser steps between two checkpoints; by default a checkpoint per epoch.",
        None,
        unit="STEPS",
        ge=1,
        affects_result=False,
    )
    keep_checkpoints: int = option(
        "Checkpoints to keep, beside the best model.", 2, unit="N", ge=1, affects_result=False
    )
    tensorboard: bool = option("Also write TensorBoard scalars.", False, group="Logging", affects_result=False)
    push_to_hub: str | None = option(
        "Upload the finished directory to this repository.", None, unit="ORG/NAME", group="Output", affects_result=False
    )
    licence: str | None = option(
        "Licence of the written model for its card: apache-2.0, cc-by-4.0, … or in words; by default the base's.",
        None,
        unit="TEXT",
        alias="--license",
        group="Output",
        min_length=1,
        affects_result=False,
    )
    num_workers: Workers = option(
        "Training processes: 4, or 2-8 to follow the size of the cluster.",
        "1",
        unit="N|MIN-MAX",
        group="Cluster",
        affects_result=False,
    )
    num_gpus: float | None = option(
        "GPUs of each training process; by default 1 if any, else 0.", None, unit="GPUS", ge=0, affects_result=False
    )
    max_failures: int = option(
        "Restarts after a worker died.", 3, unit="N", group="Cluster", ge=0, affects_result=False
    )

    @model_validator(mode="before")
    @classmethod
    def _of_task(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("task") != CONTRASTIVE:
            return given
        foreign = [name for name in _OF_ANSWERS if name in given]
        if foreign:
            raise ValueError(
                f"{option_name(foreign[0], cls)} is for --task vqa; there are no answers in contrastive training"
            )
        return {**_USUAL_FOR_CAPTIONS, **given}

    @model_validator(mode="after")
    def _agree(self) -> FinetuneSpec:
        if self.shape and self.model != SCRATCH:
            raise ValueError(f"shape is for --model {SCRATCH} only")
        if self.lora and self.model == SCRATCH:
            raise ValueError("lora needs a trained model to start from, not scratch")
        return self

    def workers(self) -> tuple[int, int]:
        """(min, max) of `num_workers`."""
        return bounds(self.num_workers)

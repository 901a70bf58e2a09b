"""The options of `vqa-ray finetune`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from vqa_ray.jobs.finetune.chat_group import ChatGroup
from vqa_ray.jobs.spec.base import JobSpec, Workers, bounds
from vqa_ray.jobs.spec.field import option, option_name
from vqa_ray.training.config import CHAT, CONTRASTIVE, VQA, Task

SCRATCH = "scratch"

Fraction = Annotated[float, Field(ge=0, lt=1)]

_LORA = ("lora_rank", "lora_alpha", "lora_dropout", "lora_export")
# The options that not every task has, and the tasks that have them.
_TASKS_OF: Mapping[str, tuple[Task, ...]] = {
    **dict.fromkeys(("vocabulary", "min_answer_count", "max_answers", "lora"), (VQA,)),
    **dict.fromkeys(("question", "truth", *_LORA), (VQA, CHAT)),
    **dict.fromkeys(("auxiliary", "head_multiplier", "dropout", "shape", "vocab_size"), (VQA, CONTRASTIVE)),
    **dict.fromkeys(("augment", "augment_operations", "augment_magnitude"), (VQA, CONTRASTIVE)),
    **dict.fromkeys(ChatGroup.model_fields, (CHAT,)),
}
# What is usual for a task, where it is not what is usual for answers.
_USUAL: Mapping[object, Mapping[str, Any]] = {
    CONTRASTIVE: {"learning_rate": 1e-5, "weight_decay": 0.1, "dropout": 0.0, "augment": "none"},
    CHAT: {
        "epochs": 1,
        "batch_size": 32,
        "learning_rate": 2e-4,
        "weight_decay": 0.0,
        "warmup_fraction": 0.03,
        "lora": True,
        "lora_dropout": 0.05,
        "dropout": 0.0,
        "augment": "none",
        "export_dtype": "auto",
    },
}
_WHY_NOT: Mapping[object, str] = {
    VQA: "a ViLT answers from a vocabulary",
    CONTRASTIVE: "there are no answers in contrastive training",
    CHAT: "a chat model writes its answers, from the weights of a checkpoint",
}
_USUAL_FOR_FULL = {"learning_rate": 1e-5, "lora": False, "lora_dropout": 0.0}


class FinetuneSpec(ChatGroup, JobSpec):
    """Train ViLT on questions and answers of your own, CLIP on captions, or a chat model on conversations."""

    group: ClassVar[str] = "Training"

    task: Task = option(
        "Task to learn: vqa (ViLT), contrastive (CLIP: match captions and images), or chat (chat models).",
        "vqa",
        omit_default_from_fingerprint=True,
    )

    input: str = option(
        "Images with questions and answers, captions or conversations (path, s3://, gs://).", unit="URI"
    )
    output: str = option(
        "Directory of the model and its report; the same command again resumes.", unit="URI", affects_result=False
    )
    model: str = option(
        "Checkpoint to start from: org/name@revision, a directory or URI, bundled:NAME, or scratch.", unit="MODEL"
    )
    validation: str | None = option("Rows to validate on. Default: a fraction of the input.", None, unit="URI")
    validation_fraction: Fraction = option(
        "Fraction of the images to validate on where --validation is not given; 0 for none.", 0.1, unit="0..1"
    )
    limit: int | None = option("Read only the first rows of the input, to try a command.", None, unit="ROWS", ge=1)
    question: str | None = option(
        "Question to ask of every image, if the input has labels and no questions (photos/LABEL/*.jpg).",
        None,
        unit="TEXT",
        min_length=1,
        omit_default_from_fingerprint=True,
    )
    truth: str | None = option(
        "Column of the right answers. Default: annotator_answers, answer, label or labels.", None, unit="COLUMN"
    )
    auxiliary: list[str] = option(
        "Category column (product type, colour) to learn beside answers or captions. Repeatable.", [], unit="COLUMN"
    )
    vocabulary: str | None = option(
        "File of the answers to learn, one per line. Default: collected from the training answers.", None, unit="FILE"
    )
    min_answer_count: int | None = option(
        "Rows that an answer of the vocabulary occurs in, at least. Default: 1 to 9, by the number of rows.",
        None,
        unit="N",
        ge=1,
    )
    max_answers: int | None = option("Largest number of answers in the vocabulary.", None, unit="N", ge=2)
    epochs: int = option("Passes over the training rows; 1 for chat.", 10, unit="N", ge=1)
    batch_size: int = option("Rows per optimiser step, over all workers; 32 for chat.", 256, unit="ROWS", ge=1)
    learning_rate: float = option(
        "Peak learning rate; 1e-5 for captions, 2e-4 for chat, 1e-5 with --full.", 1e-4, unit="RATE", gt=0
    )
    head_multiplier: float = option(
        "Factor on the learning rate for the heads of answers and auxiliary labels.", 10.0, unit="TIMES", gt=0
    )
    weight_decay: float = option(
        "Weight decay of matrices, not of biases and norms; 0.1 for captions, 0 for chat.",
        0.01,
        unit="RATE",
        ge=0,
    )
    warmup_fraction: Fraction = option(
        "Fraction of the steps in which the rate rises, then falls linearly; for chat 0.03, then a cosine.",
        0.1,
        unit="0..1",
    )
    gradient_clip: float = option("Largest norm of the gradient.", 1.0, unit="NORM", gt=0)
    dropout: Fraction = option("Dropout in the encoder; 0 for captions.", 0.1, unit="0..1")
    augment: Literal["randaug", "geometric", "none"] = option(
        "RandAugment with all operations, only geometric ones (colours stay), or none, as for captions.",
        "randaug",
    )
    augment_operations: int = option("RandAugment operations per image.", 2, unit="N", ge=1, le=10)
    augment_magnitude: int = option("Magnitude of the RandAugment operations.", 9, unit="0..30", ge=0, le=30)
    seed: int = option("Seed of the row order, new weights, dropout and augmentation.", 0, unit="N", ge=0)
    lora: bool = option("Train low-rank adapters instead of all weights, as chat does without --full.", False)
    lora_rank: int = option("Rank of the adapters.", 16, unit="N", ge=1)
    lora_alpha: float = option(
        "Factor of the adapters, divided by their rank.", 32.0, unit="N", gt=0, omit_default_from_fingerprint=True
    )
    lora_dropout: Fraction = option(
        "Dropout of the adapters' input; 0.05 for chat.", 0.0, unit="0..1", omit_default_from_fingerprint=True
    )
    lora_export: Literal["merged", "adapter"] = option(
        "Write the merged model (chat: with the adapter below it in lora/), or the adapter alone.", "merged"
    )
    dtype: Literal["float32", "bfloat16"] | None = option(
        "Precision of the model. Default: the best that the device has.",
        None,
    )
    export_dtype: Literal["float32", "bfloat16", "auto"] = option(
        "Precision of the written weights; auto is that of the checkpoint, as for chat.", "float32"
    )
    shape: dict[str, str] = option(
        "Size of a model from scratch: hidden_size, layers, heads, …; docs/training.md has all. Repeatable.",
        {},
        unit="NAME=N",
    )
    vocab_size: int = option("Largest WordPiece vocabulary of a model from scratch.", 8_000, unit="N", ge=100)
    patience: int | None = option(
        "Stop after this many epochs without a better validation accuracy.", None, unit="EPOCHS", ge=1
    )
    checkpoint_every: int | None = option(
        "Optimiser steps between two checkpoints. Default: one checkpoint per epoch.",
        None,
        unit="STEPS",
        ge=1,
        affects_result=False,
    )
    keep_checkpoints: int = option(
        "Number of checkpoints to keep beside the best model.", 2, unit="N", ge=1, affects_result=False
    )
    tensorboard: bool = option("Also write TensorBoard scalars.", False, group="Logging", affects_result=False)
    push_to_hub: str | None = option(
        "Upload the finished directory to this repository.", None, unit="ORG/NAME", group="Output", affects_result=False
    )
    licence: str | None = option(
        "Licence on the model's card: apache-2.0, cc-by-4.0, … or words. Default: the base model's.",
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
        "GPUs of each training process. Default: 1 if any, else 0.", None, unit="GPUS", ge=0, affects_result=False
    )
    max_failures: int = option(
        "Restarts after a worker has died, at most.", 3, unit="N", group="Cluster", ge=0, affects_result=False
    )

    @model_validator(mode="before")
    @classmethod
    def _of_task(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        task = given.get("task", VQA)
        for name, tasks in _TASKS_OF.items():
            if name in given and task in _WHY_NOT and task not in tasks:
                wanted = " or ".join(f"--task {other}" for other in tasks)
                raise ValueError(f"{option_name(name, cls)} is for {wanted}; {_WHY_NOT[task]}")
        is_full = task == CHAT and given.get("full") is True
        if foreign := next((name for name in _LORA if is_full and name in given), None):
            raise ValueError(f"{option_name(foreign, cls)} is for adapters; --full trains the weights themselves")
        if "projector_learning_rate" in given and not given.get("train_projector"):
            raise ValueError("--projector-learning-rate needs --train-projector")
        return {**_USUAL.get(task, {}), **(_USUAL_FOR_FULL if is_full else {}), **given}

    @model_validator(mode="after")
    def _agree(self) -> FinetuneSpec:
        if self.shape and self.model != SCRATCH:
            raise ValueError(f"--shape is for --model {SCRATCH} only")
        if self.task == CHAT and self.model == SCRATCH:
            raise ValueError("--task chat needs a trained model to start from, not scratch")
        if self.lora and self.model == SCRATCH:
            raise ValueError("--lora needs a trained model to start from, not scratch")
        return self

    def workers(self) -> tuple[int, int]:
        """(min, max) of `num_workers`."""
        return bounds(self.num_workers)

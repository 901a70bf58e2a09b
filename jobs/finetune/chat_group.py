"""The options of `vqa-ray finetune --task chat` that no other task has."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import Spec, option
from vqa_ray.training.config import Metric


class ChatGroup(Spec):
    """The fine-tuning of a chat model."""

    group: ClassVar[str] = "Chat models"

    full: bool = option(
        "Train all weights of the language model instead of low-rank adapters.",
        False,
        omit_default_from_fingerprint=True,
    )
    train_projector: bool = option(
        "Also train the projector between vision tower and language model.", False, omit_default_from_fingerprint=True
    )
    projector_learning_rate: float | None = option(
        "Peak learning rate of the projector. Default: --learning-rate.",
        None,
        unit="RATE",
        gt=0,
        omit_default_from_fingerprint=True,
    )
    gradient_checkpointing: bool = option(
        "Compute activations again in the backward pass: slower, in less memory.", False, affects_result=False
    )
    max_pixels: int | None = option(
        "Largest area in which the model sees an image: fewer image tokens, less detail.",
        None,
        unit="PIXELS",
        ge=1,
        omit_default_from_fingerprint=True,
    )
    max_tokens: int | None = option(
        "Longest row, image tokens included; a longer one is an error row. Default: what the model reads.",
        None,
        unit="TOKENS",
        ge=1,
        omit_default_from_fingerprint=True,
    )
    tokens_per_pass: int | None = option(
        "Tokens of one forward pass; a batch of more is accumulated. Default: chosen for the device.",
        None,
        unit="TOKENS",
        ge=1,
        affects_result=False,
    )
    metric: Metric | None = option(
        "Measure in validation; loss generates no answers. Default: vqa-accuracy of short answers, else loss.",
        None,
        omit_default_from_fingerprint=True,
    )
    validation_answers: int = option(
        "Validation rows whose last answer is generated and measured; the loss is of all rows.",
        1_000,
        unit="ROWS",
        ge=1,
        omit_default_from_fingerprint=True,
    )
    max_new_tokens: int = option(
        "Most new tokens of a generated answer in validation.", 128, unit="N", ge=1, omit_default_from_fingerprint=True
    )

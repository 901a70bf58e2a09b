"""Functions of release 0.1 in `vqa_ray.models.load`, by what stands for them now; see `vqa_ray.former_names`."""

from __future__ import annotations

from typing import Any

from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import Encoder, VqaModel
from vqa_ray.types import ImageTransform


def describe(reference: str) -> Checkpoint:
    """Open a model; `Checkpoint.open` does it now."""
    return Checkpoint.open(reference)


def load_transform(reference: str) -> ImageTransform:
    """Return the image transform of a model: `Checkpoint.transform`."""
    return Checkpoint.open(reference).transform


def load_vocabulary(reference: str) -> AnswerVocabulary | None:
    """Return the answers that a model chooses from: `Checkpoint.vocabulary`."""
    return Checkpoint.open(reference).vocabulary


def load_model(reference: str, **options: Any) -> VqaModel:
    """Load a model; `ModelOptions.load` does it now."""
    return ModelOptions.of(Checkpoint.open(reference), **options).load()


def load_encoder(reference: str, **options: Any) -> Encoder:
    """Load a dual encoder; `ModelOptions.load_encoder` does it now."""
    return ModelOptions.of(Checkpoint.open(reference), **options).load_encoder()

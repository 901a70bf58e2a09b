"""A checkpoint that training starts from, looked into and checked without its weights, and without torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint import files as checkpoint
from vqa_ray.models.checkpoint.completeness import check_parts
from vqa_ray.models.transforms.clip import ClipTransform
from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.training.config import CONTRASTIVE, VQA, Task
from vqa_ray.types import ImageTransform

_ANSWERING = "ViltForQuestionAnswering"
_MODEL_TYPES: Mapping[Task, str] = {VQA: "vilt", CONTRASTIVE: "clip"}
_NAMES: Mapping[Task, str] = {VQA: "ViLT", CONTRASTIVE: "CLIP"}
# Architectures that hold a whole network to start from, whatever stands on it.
_ARCHITECTURES: Mapping[Task, tuple[str, ...]] = {
    VQA: (
        "ViltForImageAndTextRetrieval",
        "ViltForImagesAndTextClassification",
        "ViltForMaskedLM",
        "ViltForPreTraining",
        _ANSWERING,
        "ViltModel",
    ),
    CONTRASTIVE: ("CLIPModel",),
}


@dataclass(frozen=True, slots=True)
class StartInfo:
    """A checkpoint to start from, without its weights.

    Attributes:
        reference: as it was given.
        pinned: the same, a hub name at the commit that was read.
        path: the local directory.
        architecture: of transformers, as `config.json` names it.
        vocabulary: the answers its head knows; None when it has no such head.
        max_text_tokens: texts are cut to so many tokens.
        transform: what size images must have.
        fingerprint: changes when weights, vocabulary or preprocessing change.
        notes: sentences on where it comes from.
        family: as the record of a run names it.
        revisions: of the remote references that were read.
        dtype: of its weights, as `config.json` states it.
    """

    reference: str
    pinned: str
    path: Path
    architecture: str
    vocabulary: AnswerVocabulary | None
    max_text_tokens: int
    transform: ImageTransform
    fingerprint: str
    notes: tuple[str, ...] = ()
    family: str = ""
    revisions: Mapping[str, str] = field(default_factory=dict)
    dtype: str = "float32"

    @property
    def label(self) -> str:
        """Its name at the beginning of a message."""
        return f"model {self.reference}"


def describe_start(reference: str, task: Task = VQA) -> StartInfo:
    """Find a checkpoint, and check that a training can start from it.

    Raises:
        ModelLoadError: no such checkpoint, none of the task's architectures, or a part of it is missing or damaged.
    """
    files = checkpoint.locate(reference)
    config = checkpoint.read_json(files.path, "config.json")
    label = f"model {reference}"
    architecture = _architecture(config, label, task)
    transform = _transform(files.path, config, label, task)
    vocabulary = AnswerVocabulary.from_config(config, label) if architecture == _ANSWERING else None
    weights = check_parts(files.path, config, label, vocabulary)
    return StartInfo(
        reference,
        checkpoint.pinned(reference, files.revisions),
        files.path,
        architecture,
        vocabulary,
        _max_text_tokens(config, task),
        transform,
        checkpoint.fingerprint(files.path),
        (*files.notes, *weights.notes(reference)),
        _MODEL_TYPES[task],
        files.revisions,
    )


def _architecture(config: Mapping[str, Any], label: str, task: Task) -> str:
    """Return the first architecture of a checkpoint that the task can start from."""
    given, model_type, wanted = config.get("model_type"), _MODEL_TYPES[task], _ARCHITECTURES[task]
    architectures = [str(name) for name in config.get("architectures") or []]
    known = [name for name in architectures if name in wanted]
    if given == model_type and known:
        return known[0]
    names = f"a {_NAMES[task]}, one of {', '.join(wanted)}" if len(wanted) > 1 else f"a {wanted[0]}"
    other = next((name for name, its_type in _MODEL_TYPES.items() if its_type == given and name != task), None)
    hint = "" if other is None else f"; a {_NAMES[other]} is trained with --task {other}"
    raise ModelLoadError(
        f"{label}: cannot be trained with --task {task}: config.json says {given!r}, "
        f"{', '.join(architectures) or 'no architecture'}; wanted {names}{hint}"
    )


def _transform(path: Path, config: Mapping[str, Any], label: str, task: Task) -> ImageTransform:
    """Return the image transform of a checkpoint, which must fit its network."""
    settings = checkpoint.image_processor_config(path)
    if task == VQA:
        return ViltTransform.from_config(settings, label)
    transform = ClipTransform.from_config(settings, label)
    side = (config.get("vision_config") or {}).get("image_size", 224)
    if transform.crop != side:
        raise ModelLoadError(
            f"{label}: its image processor gives images of {transform.crop} pixels, the network takes {side}"
        )
    return transform


def _max_text_tokens(config: Mapping[str, Any], task: Task) -> int:
    """Return how many tokens of a text the network of a checkpoint takes."""
    text, usual = (config, 40) if task == VQA else (config.get("text_config") or {}, 77)
    return int(text.get("max_position_embeddings", usual))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' table of new and unused weights while the block runs; ours are checked by name."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)

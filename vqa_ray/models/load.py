"""A model reference → its family, its image transform and the loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models import checkpoint
from vqa_ray.models.base import ImageTransform, VqaModel
from vqa_ray.models.vilt_transform import ViltTransform
from vqa_ray.models.vocabulary import AnswerVocabulary

FAKE = "fake:"

# model_type of config.json → the architecture that answers questions.
_FAMILIES = {"vilt": "ViltForQuestionAnswering"}
_SCORE_MEANINGS = {
    "fake": "a deterministic function of the image's mean colour and the question, between 0 and 1",
    "vilt": "sigmoid of the answer's logit; answers are scored independently, so scores do not sum to 1",
}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model without loading its weights.

    Attributes:
        reference: as the user gave it.
        path: the local directory; None for `fake:`.
        family: `vilt`, …
        fingerprint: changes when the weights, the vocabulary or the preprocessing change.
        score_meaning: what a score of this family is, one line.
    """

    reference: str
    path: Path | None
    family: str
    fingerprint: str
    score_meaning: str


def describe(reference: str) -> ModelInfo:
    """Find a model and check that it is whole, without torch.

    Raises:
        ModelLoadError: no such model, an unknown family, pickled or missing weights.
    """
    if reference == FAKE:
        return ModelInfo(reference, None, "fake", "fake-1", _SCORE_MEANINGS["fake"])
    path = checkpoint.local_directory(reference)
    config = checkpoint.read_json(path, "config.json")
    family = _family(reference, config)
    _transform(family, path)
    AnswerVocabulary.from_config(config, f"model {path}")
    return ModelInfo(reference, path, family, checkpoint.fingerprint(path), _SCORE_MEANINGS[family])


def load_transform(reference: str) -> ImageTransform:
    """The image transform of a model: light, picklable, no weights, no torch.

    Raises:
        ModelLoadError: see `describe`.
    """
    if reference == FAKE:
        from vqa_ray.models.fake import FakeTransform

        return FakeTransform()
    path = checkpoint.local_directory(reference)
    return _transform(_family(reference, checkpoint.read_json(path, "config.json")), path)


def load_vocabulary(reference: str) -> AnswerVocabulary | None:
    """The closed vocabulary that a model answers from, without its weights; None when it answers freely.

    Raises:
        ModelLoadError: see `describe`; also a checkpoint without a vocabulary.
    """
    if reference == FAKE:
        return None
    path = checkpoint.local_directory(reference)
    config = checkpoint.read_json(path, "config.json")
    _family(reference, config)
    return AnswerVocabulary.from_config(config, f"model {path}")


def load_model(
    reference: str, *, device: str | None = None, dtype: str | None = None, compile: bool = False
) -> VqaModel:
    """Load the weights.

    Args:
        reference: see `checkpoint.local_directory`.
        device: `cpu`, `cuda`, `cuda:1`, …; None takes CUDA where there is one.
        dtype: `float32` or `bfloat16`; None takes bfloat16 where the device computes in it, else float32.
        compile: run the network through `torch.compile` (CUDA only).

    Raises:
        ModelLoadError: see `describe`; also a device or dtype that does not exist.
    """
    info = describe(reference)
    if info.path is None:
        from vqa_ray.models.fake import FakeModel

        return FakeModel()
    from vqa_ray.models.vilt import Vilt

    return Vilt.from_directory(info.path, device=device, dtype=dtype, compile=compile)


def _family(reference: str, config: dict[str, Any]) -> str:
    family = config.get("model_type")
    if family not in _FAMILIES:
        raise ModelLoadError(
            f"model {reference}: model_type {family!r} of config.json is not supported; there are "
            f"{', '.join(sorted(_FAMILIES))}"
        )
    wanted, found = _FAMILIES[family], config.get("architectures") or []
    if wanted not in found:
        raise ModelLoadError(
            f"model {reference}: architecture {', '.join(found) or 'unknown'} does not answer questions, "
            f"wanted {wanted}"
        )
    return str(family)


def _transform(family: str, path: Path) -> ViltTransform:
    return ViltTransform.from_config(checkpoint.image_processor_config(path), f"model {path}")

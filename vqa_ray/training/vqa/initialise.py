"""Where training starts: from a checkpoint's encoder, from a fine-tuned checkpoint with its head, or from nothing.

`describe_start` is light; torch and transformers are imported when a network is built.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint import files as checkpoint
from vqa_ray.models.checkpoint.completeness import check_parts
from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.text import normalise
from vqa_ray.training.vqa.shape import ViltShape, transform_of

_ANSWERING = "ViltForQuestionAnswering"
# Architectures that hold a whole ViLT encoder, whatever stands on it.
_ARCHITECTURES = (
    "ViltForImageAndTextRetrieval",
    "ViltForImagesAndTextClassification",
    "ViltForMaskedLM",
    "ViltForPreTraining",
    _ANSWERING,
    "ViltModel",
)


@dataclass(frozen=True, slots=True)
class StartInfo:
    """What is known of a checkpoint to start from without loading its weights.

    Attributes:
        path: the local directory.
        architecture: of transformers, as `config.json` names it.
        vocabulary: the answers its head knows; None when it has no such head.
        max_text_tokens: questions are cut to so many tokens.
        fingerprint: changes when weights, vocabulary or preprocessing change.
        notes: what a person should know of where it comes from, one line each.
    """

    path: Path
    architecture: str
    vocabulary: AnswerVocabulary | None
    max_text_tokens: int
    fingerprint: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InitialModel:
    """A network to train.

    Attributes:
        model: `ViltForQuestionAnswering`, float32, on the CPU.
        tokenizer: of transformers.
        transform: what size images must have.
        told: what a person should know of how it was made, one line each.
    """

    model: Any
    tokenizer: Any
    transform: ViltTransform
    told: tuple[str, ...] = ()

    @property
    def max_text_tokens(self) -> int:
        """Questions are cut to so many tokens."""
        return int(self.model.config.max_position_embeddings)


def describe_start(reference: str) -> StartInfo:
    """Find a checkpoint and check that training can start from it, without torch.

    Args:
        reference: see `checkpoint.local_directory`.

    Raises:
        ModelLoadError: no such checkpoint, not a ViLT, or a part of it is missing or damaged.
    """
    found_at = checkpoint.locate(reference)
    path = found_at.path
    config = checkpoint.read_json(path, "config.json")
    found = [str(name) for name in config.get("architectures") or []]
    known = [name for name in found if name in _ARCHITECTURES]
    if config.get("model_type") != "vilt" or not known:
        other = "; a CLIP is trained with --task contrastive" if config.get("model_type") == "clip" else ""
        raise ModelLoadError(
            f"model {reference}: cannot be trained with --task vqa: config.json says {config.get('model_type')!r}, "
            f"{', '.join(found) or 'no architecture'}; wanted a ViLT, one of {', '.join(_ARCHITECTURES)}{other}"
        )
    origin = f"model {reference}"
    ViltTransform.from_config(checkpoint.image_processor_config(path), origin)
    vocabulary = AnswerVocabulary.from_config(config, origin) if known[0] == _ANSWERING else None
    weights = check_parts(path, config, origin, vocabulary)
    fingerprint = checkpoint.fingerprint(path)
    limit = int(config.get("max_position_embeddings", 40))
    notes = (*found_at.notes, *weights.notes(reference))
    return StartInfo(path, known[0], vocabulary, limit, fingerprint, notes)


def start_from(reference: str, vocabulary: AnswerVocabulary, *, seed: int = 0, dropout: float = 0.0) -> InitialModel:
    """Take the encoder of a checkpoint, and the rows of its answer head that the vocabulary still wants.

    Args:
        vocabulary: the answers to train, in the order of the logits.
        seed: of fresh weights; the global generator is left as it was.
        dropout: of hidden states and attention while training; the config keeps what the checkpoint says.

    Raises:
        ModelLoadError: see `describe_start`; also weights that are missing, damaged or of another shape.
    """
    import torch

    from vqa_ray.models.checkpoint.weights import load_text_tokenizer

    info = describe_start(reference)
    origin = f"model {reference}"
    model = _load(info, origin)
    tokenizer = load_text_tokenizer(info.path, origin=origin)
    if len(tokenizer) > model.config.vocab_size:
        raise ModelLoadError(
            f"{origin}: the tokenizer has {len(tokenizer)} tokens, the network knows {model.config.vocab_size}"
        )
    transform = ViltTransform.from_config(checkpoint.image_processor_config(info.path), origin)
    with torch.random.fork_rng(devices=[]):
        told = _fit_head(model, info, vocabulary, torch.Generator().manual_seed(seed))
    set_dropout(model, dropout)
    return InitialModel(model, tokenizer, transform, (told,))


def start_from_scratch(
    shape: ViltShape,
    questions: Iterable[str],
    vocabulary: AnswerVocabulary,
    *,
    vocab_size: int = 8_000,
    seed: int = 0,
    dropout: float = 0.0,
) -> InitialModel:
    """A fresh network of a `ViltShape`, and a tokenizer learnt from the questions.

    Args:
        vocabulary: the answers to train, in the order of the logits.
        vocab_size: at most so many WordPieces.
        seed, dropout: see `start_from`.

    Raises:
        RequestError: `vocab_size` is too small.
    """
    from vqa_ray.training import tokenizer as scratch

    tokenizer = scratch.train_tokenizer(questions, vocab_size, shape.max_text_tokens)
    model = scratch.build_vilt(shape, len(tokenizer), vocabulary.labels, seed)
    set_dropout(model, dropout)
    parameters = sum(weight.numel() for weight in model.parameters())
    told = f"a new network of {parameters:,} parameters; {len(tokenizer):,} WordPieces learnt from the questions"
    return InitialModel(model, tokenizer, transform_of(shape), (told,))


def set_dropout(model: Any, probability: float) -> None:
    """Of hidden states and attention probabilities, everywhere in the encoder; it acts in training mode only."""
    from torch import nn

    for module in model.vilt.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


def _load(info: StartInfo, origin: str) -> Any:
    """The checkpoint as a `ViltForQuestionAnswering`; a head it does not have is random."""
    import torch
    from transformers import ViltForQuestionAnswering

    from vqa_ray.models.checkpoint.weights import read_weights

    parts = ("vilt.", "classifier.") if info.vocabulary else ("vilt.",)
    with quiet(), torch.random.fork_rng(devices=[]):
        model = read_weights(
            ViltForQuestionAnswering,
            info.path,
            torch.float32,
            wanted=lambda name: name.startswith(parts),
            origin=origin,
        )
    return model.train().requires_grad_(True)


def _fit_head(model: Any, info: StartInfo, vocabulary: AnswerVocabulary, generator: Any) -> str:
    """Make the head answer from `vocabulary`; what was done, for a person."""
    import torch
    from torch import nn

    labels = vocabulary.labels
    old = model.classifier[3]
    model.classifier[3] = _fresh(nn.Linear(old.in_features, len(labels)), model.config, generator)
    model.num_labels = len(labels)
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: index for index, label in enumerate(labels)}
    if info.vocabulary is None:
        _fresh(model.classifier[0], model.config, generator)
        model.classifier[1].reset_parameters()
        return f"{info.architecture}: its encoder goes on, the head for {len(labels)} answers is new"
    places = _matches(labels, info.vocabulary)
    with torch.no_grad():
        for row, place in enumerate(places):
            if place is not None:
                model.classifier[3].weight[row] = old.weight[place]
                model.classifier[3].bias[row] = old.bias[place]
    kept = sum(place is not None for place in places)
    if not kept:
        return (
            f"warning: none of the {len(labels)} answers is among the {len(info.vocabulary.labels)} of the "
            "checkpoint; the last layer of its head is new"
        )
    new, dropped = len(labels) - kept, len(info.vocabulary.labels) - len(set(places) - {None})
    return f"{kept} of {len(labels)} answers keep the checkpoint's head, {new} are new, {dropped} were dropped"


def _matches(labels: Iterable[str], old: AnswerVocabulary) -> list[int | None]:
    """Where each answer stands in the old head, compared exactly, else but for case, else as normalised."""
    normalised = {normalise(label): index for index, label in reversed(list(enumerate(old.labels)))}
    exact = ((label, old.index_of(label)) for label in labels)
    return [normalised.get(normalise(label)) if index is None else index for label, index in exact]


def _fresh(linear: Any, config: Any, generator: Any) -> Any:
    """Initial weights as transformers draws them."""
    from torch import nn

    nn.init.normal_(linear.weight, std=config.initializer_range, generator=generator)
    nn.init.zeros_(linear.bias)
    return linear


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' own table of new and unused weights: what matters of it is checked and told here."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)

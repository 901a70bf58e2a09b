"""The ViLT that a training begins with: a checkpoint's encoder, its answer head too, or a fresh network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint.weights import read_weights
from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.text import normalise
from vqa_ray.training.start import StartInfo, quiet
from vqa_ray.training.tokenizer import load_tokenizer, train_tokenizer
from vqa_ray.training.vqa.network import build_vilt
from vqa_ray.training.vqa.shape import ViltShape


@dataclass(frozen=True, slots=True)
class InitialVilt:
    """A network to train.

    Attributes:
        model: `ViltForQuestionAnswering`, float32, on the CPU.
        tokenizer: of transformers.
        transform: the size that images must have.
        notes: sentences on how it was made.
    """

    model: Any
    tokenizer: Any
    transform: ViltTransform
    notes: tuple[str, ...] = ()

    @property
    def max_text_tokens(self) -> int:
        """Questions are cut to so many tokens."""
        return int(self.model.config.max_position_embeddings)


def start_from(info: StartInfo, vocabulary: AnswerVocabulary, *, seed: int = 0, dropout: float = 0.0) -> InitialVilt:
    """Take the encoder of a checkpoint, and the rows of its answer head that the vocabulary still wants.

    Args:
        info: the checkpoint.
        vocabulary: the answers to train, in the order of the logits.
        seed: of fresh weights; the global generator is left as it was.
        dropout: of hidden states and attention while training; the config keeps what the checkpoint says.

    Raises:
        ModelLoadError: weights that are missing, damaged or of another shape, or a damaged tokenizer.
    """
    model = _load(info)
    tokenizer = load_tokenizer(info.path, model.config.vocab_size, info.label)
    with torch.random.fork_rng(devices=[]):
        note = _fit_head(model, info, vocabulary, torch.Generator().manual_seed(seed))
    set_dropout(model, dropout)
    assert isinstance(info.transform, ViltTransform)
    return InitialVilt(model, tokenizer, info.transform, (note,))


def start_from_scratch(
    shape: ViltShape,
    questions: Iterable[str],
    vocabulary: AnswerVocabulary,
    *,
    vocab_size: int = 8_000,
    seed: int = 0,
    dropout: float = 0.0,
) -> InitialVilt:
    """Make a fresh network of a shape, and learn a tokenizer from the questions.

    Args:
        shape: of the network.
        questions: what the tokenizer is learnt from.
        vocabulary: the answers to train, in the order of the logits.
        vocab_size: at most so many WordPieces.
        seed: of fresh weights.
        dropout: see `start_from`.

    Raises:
        RequestError: `vocab_size` is too small.
    """
    tokenizer = train_tokenizer(questions, vocab_size, shape.max_text_tokens)
    model = build_vilt(shape, len(tokenizer), vocabulary.labels, seed)
    set_dropout(model, dropout)
    parameters = sum(weight.numel() for weight in model.parameters())
    note = f"a new network of {parameters:,} parameters; {len(tokenizer):,} WordPieces learnt from the questions"
    return InitialVilt(model, tokenizer, shape.transform, (note,))


def set_dropout(model: Any, probability: float) -> None:
    """Set the dropout of hidden states and attention, everywhere in the encoder; it acts in training mode only."""
    for module in model.vilt.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


def _load(info: StartInfo) -> Any:
    """Load the checkpoint as a `ViltForQuestionAnswering`; a head that it does not have is random."""
    from transformers import ViltForQuestionAnswering

    parts = ("vilt.", "classifier.") if info.vocabulary else ("vilt.",)
    with quiet(), torch.random.fork_rng(devices=[]):
        model = read_weights(
            ViltForQuestionAnswering,
            info.path,
            torch.float32,
            wanted=lambda name: name.startswith(parts),
            label=info.label,
        )
    return model.train().requires_grad_(True)


def _fit_head(model: Any, info: StartInfo, vocabulary: AnswerVocabulary, generator: Any) -> str:
    """Make the head answer from `vocabulary`, and say in a sentence what was done."""
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
    matches = _matches(labels, info.vocabulary)
    with torch.no_grad():
        for row, match in enumerate(matches):
            if match is not None:
                model.classifier[3].weight[row] = old.weight[match]
                model.classifier[3].bias[row] = old.bias[match]
    kept = sum(match is not None for match in matches)
    if not kept:
        return (
            f"warning: none of the {len(labels)} answers is among the {len(info.vocabulary.labels)} of the "
            "checkpoint; the last layer of its head is new"
        )
    new, dropped = len(labels) - kept, len(info.vocabulary.labels) - len(set(matches) - {None})
    return f"{kept} of {len(labels)} answers keep the checkpoint's head, {new} are new, {dropped} were dropped"


def _matches(labels: Iterable[str], old: AnswerVocabulary) -> list[int | None]:
    """Find each answer in the old head: spelt the same, else but for case, else as normalised."""
    normalised = {normalise(label): index for index, label in reversed(list(enumerate(old.labels)))}
    exact = ((label, old.index_of(label)) for label in labels)
    return [normalised.get(normalise(label)) if index is None else index for label, index in exact]


def _fresh(linear: Any, config: Any, generator: Any) -> Any:
    """Draw initial weights as transformers does."""
    nn.init.normal_(linear.weight, std=config.initializer_range, generator=generator)
    nn.init.zeros_(linear.bias)
    return linear

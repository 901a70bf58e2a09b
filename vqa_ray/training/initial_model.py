"""The model that a training begins with, written as a directory: of a checkpoint, or of a shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.training.contrastive.export import export_pairs
from vqa_ray.training.contrastive.initialise import start_pairs_from, start_pairs_from_scratch
from vqa_ray.training.contrastive.shape import ClipShape
from vqa_ray.training.start import StartInfo
from vqa_ray.training.vqa.export import export
from vqa_ray.training.vqa.initialise import start_from, start_from_scratch
from vqa_ray.training.vqa.shape import ViltShape

Beginning: TypeAlias = StartInfo | ViltShape | ClipShape


@dataclass(frozen=True, slots=True)
class InitialModelConfig:
    """What decides a model to begin with.

    Attributes:
        begin: the checkpoint to start from, or the shape of a new network.
        vocab_size: at most so many WordPieces for a new tokenizer.
        seed: of fresh weights.
    """

    begin: Beginning
    vocab_size: int
    seed: int


def write_initial_model(
    destination: str, config: InitialModelConfig, vocabulary: AnswerVocabulary | None, texts: Sequence[str]
) -> tuple[str, ...]:
    """Make the model, and write it to a directory or URI.

    Args:
        destination: where it goes.
        config: what decides it.
        vocabulary: the answers to learn; None for contrastive training.
        texts: what a new tokenizer is learnt from.

    Returns:
        Sentences on how it was made.

    Raises:
        RequestError: `vocab_size` is too small.
        ModelLoadError: the weights or the tokenizer of the checkpoint are damaged.
        RunError: the destination cannot be written.
    """
    begin, seed = config.begin, config.seed
    if vocabulary is None:
        assert not isinstance(begin, ViltShape)
        clip = (
            start_pairs_from(begin)
            if isinstance(begin, StartInfo)
            else start_pairs_from_scratch(begin, texts, vocab_size=config.vocab_size, seed=seed)
        )
        export_pairs(destination, clip)
        return clip.notes
    assert not isinstance(begin, ClipShape)
    vilt = (
        start_from(begin, vocabulary, seed=seed)
        if isinstance(begin, StartInfo)
        else start_from_scratch(begin, texts, vocabulary, vocab_size=config.vocab_size, seed=seed)
    )
    export(destination, vilt.model, vilt.tokenizer, vilt.transform)
    return vilt.notes

"""A new, small ViLT: tokenizer from words, network from a shape, and the checkpoint directory they are saved to."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vqa_ray.models.vilt_transform import ViltTransform

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True, slots=True)
class ViltShape:
    """The size of a ViLT trained from scratch; lengths in pixels, the rest counts."""

    hidden_size: int = 192
    layers: int = 4
    heads: int = 3
    intermediate_size: int = 768
    patch_size: int = 16
    shortest_edge: int = 112
    max_text_tokens: int = 40


def build_tokenizer(words: Iterable[str], max_text_tokens: int = 40) -> Any:
    """A lower-casing WordPiece tokenizer that knows `words` whole and spells out the others.

    Args:
        words: any case; split as BERT splits before they are added, duplicates are fine.
        max_text_tokens: the `model_max_length` that is saved with it.
    """
    from transformers import BertTokenizerFast

    letters = string.ascii_lowercase + string.digits
    pieces = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *string.punctuation]
    whole = sorted({part for word in words for part in _split(word)} - set(pieces))
    vocabulary = {token: index for index, token in enumerate([*pieces, *whole])}
    return BertTokenizerFast(vocab=vocabulary, do_lower_case=True, model_max_length=max_text_tokens)


def question_tokenizer(tokenizer: Any, max_text_tokens: int = 40) -> Callable[[str], tuple[int, ...]]:
    """Question → token ids, cut to the limit; questions seen before are remembered."""

    @functools.lru_cache(maxsize=100_000)
    def tokenize(question: str) -> tuple[int, ...]:
        return tuple(tokenizer(question, truncation=True, max_length=max_text_tokens)["input_ids"])

    return tokenize


def _split(word: str) -> list[str]:
    from tokenizers.pre_tokenizers import BertPreTokenizer

    return [part for part, _ in BertPreTokenizer().pre_tokenize_str(word.lower())]


def build_vilt(shape: ViltShape, vocab_size: int, answers: Sequence[str], seed: int, dropout: float = 0.0) -> Any:
    """A `ViltForQuestionAnswering` with fresh weights.

    Args:
        answers: the answer vocabulary, in the order of the logits.
        seed: of the initial weights; the global generator is left as it was.
    """
    from transformers import ViltConfig, ViltForQuestionAnswering

    config = ViltConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate_size,
        image_size=shape.shortest_edge,
        patch_size=shape.patch_size,
        max_position_embeddings=shape.max_text_tokens,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=0,
        id2label=dict(enumerate(answers)),
        label2id={answer: index for index, answer in enumerate(answers)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ViltForQuestionAnswering(config)


def transform_of(shape: ViltShape) -> ViltTransform:
    """The image transform that goes with a shape."""
    return ViltTransform(shape.shortest_edge, shape.patch_size)


def save_checkpoint(directory: Path, model: Any, tokenizer: Any, transform: ViltTransform) -> None:
    """Write a directory that `from_pretrained` of model, tokenizer and processor all load."""
    from transformers import ViltProcessor
    from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil

    images = ViltImageProcessorPil(
        size={"shortest_edge": transform.shortest_edge},
        size_divisor=transform.size_divisor,
        image_mean=list(transform.mean),
        image_std=list(transform.std),
    )
    model.save_pretrained(directory)
    ViltProcessor(images, tokenizer).save_pretrained(directory)

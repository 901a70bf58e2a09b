"""A tokenizer of given words, for checkpoints with random weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.training.tokenizer import single_characters, split_words, wordpiece
from vqa_ray.training.vqa.network import save_processor


def build_tokenizer(words: Iterable[str], max_text_tokens: int = 40) -> Any:
    """Build a lower-casing WordPiece tokenizer that knows `words` whole and spells out the others.

    Args:
        words: any case; split as BERT splits before they are added, duplicates are fine.
        max_text_tokens: the `model_max_length` that is saved with it.
    """
    pieces = single_characters()
    whole = sorted({part for word in words for part in split_words(word)} - set(pieces))
    return wordpiece([*pieces, *whole], max_text_tokens)


def save_checkpoint(directory: Path, model: Any, tokenizer: Any, transform: ViltTransform) -> None:
    """Write a directory that `from_pretrained` of model, tokenizer and processor all load."""
    model.save_pretrained(directory)
    save_processor(directory, tokenizer, transform)

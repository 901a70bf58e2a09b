"""A new ViLT of a shape, and the processor that is saved with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.training.transformers4_files import add_older_files
from vqa_ray.training.vqa.shape import ViltShape


def build_vilt(shape: ViltShape, vocab_size: int, answers: Sequence[str], seed: int) -> Any:
    """Build a `ViltForQuestionAnswering` with fresh weights.

    Args:
        shape: of the network.
        vocab_size: of its tokenizer.
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
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
        id2label=dict(enumerate(answers)),
        label2id={answer: index for index, answer in enumerate(answers)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ViltForQuestionAnswering(config)


def save_processor(directory: Path, tokenizer: Any, transform: ViltTransform) -> None:
    """Write what `ViltProcessor.from_pretrained` loads, of transformers 5 and 4."""
    from transformers import ViltProcessor
    from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil

    images = ViltImageProcessorPil(
        size={"shortest_edge": transform.shortest_edge},
        size_divisor=transform.size_divisor,
        image_mean=list(transform.mean),
        image_std=list(transform.std),
    )
    ViltProcessor(images, tokenizer).save_pretrained(directory)
    add_older_files(directory)

"""Tiny checkpoints built from configs, so that no test downloads anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.helpers.wordpiece import build_tokenizer, save_checkpoint
from vqa_ray.training.vqa.network import build_vilt
from vqa_ray.training.vqa.shape import ViltShape
from vqa_ray.types import Image

SHAPE = ViltShape(hidden_size=32, layers=3, heads=4, intermediate_size=64, patch_size=8, shortest_edge=32)
ANSWERS = ("yes", "no", "red", "blue", "two", "Golden Retriever")
_TEXT = "what is this it the a colour of dog cat there how many on left are in picture red blue"
WORDS = _TEXT.split()


def tiny_model(seed: int = 0) -> tuple[Any, Any]:
    """(model, tokenizer); weights are large enough that logits differ clearly between inputs."""
    tokenizer = build_tokenizer(WORDS)
    model = build_vilt(SHAPE, len(tokenizer), ANSWERS, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model, tokenizer


def save_tiny_vilt(directory: Path, seed: int = 0) -> Path:
    """A whole checkpoint directory in today's layout."""
    model, tokenizer = tiny_model(seed)
    save_checkpoint(directory, model, tokenizer, SHAPE.transform)
    return directory


def random_images(count: int, seed: int = 0) -> list[Image]:
    """uint8 images of mixed sizes the tiny model takes."""
    rng = np.random.default_rng(seed)
    sizes = [(32, 40), (40, 32), (32, 48), (32, 32), (48, 32)]
    return [rng.integers(0, 256, (*sizes[rng.integers(len(sizes))], 3), dtype=np.uint8) for _ in range(count)]

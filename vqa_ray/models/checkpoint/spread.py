"""Models that may be larger than a card: each is loaded onto one device, or spread over all cards."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.weight_files import safetensors_shapes
from vqa_ray.models.checkpoint.weights import check_image_side, load_weights
from vqa_ray.models.layers.device import choose_device, choose_dtype
from vqa_ray.models.layers.linear import freeze_linears
from vqa_ray.models.transforms.square import SquareTransform

SPREAD = "auto"
# The part of a card's free memory that weights may take; the rest is for activations.
_SHARE_OF_CARD = 0.8


def load_or_spread(
    kind: Any, checkpoint: Checkpoint, *, device: str | None, dtype: str | None
) -> tuple[Any, torch.device, SquareTransform]:
    """Load a model class of transformers; spread over all cards if it does not fit into one.

    Args:
        kind: `Blip2ForConditionalGeneration`, …
        checkpoint: its weights and image transform.
        device: names; None chooses for the machine, device `auto` spreads the model over all cards.
        dtype: names; None chooses for the machine, device `auto` spreads the model over all cards.

    Returns:
        The model in evaluation mode; the device that takes its pixels; its image transform.

    Raises:
        ModelLoadError: weights are missing or do not fit, or device or dtype do not exist.
    """
    transform, weights = checkpoint.transform, checkpoint.weights
    assert isinstance(transform, SquareTransform)
    assert weights is not None
    chosen = choose_device(None if device == SPREAD else device)
    precision = choose_dtype(dtype, chosen, checkpoint.config, checkpoint.label)
    has_several = device is None and torch.cuda.device_count() > 1
    spread = device == SPREAD or (has_several and _too_large(weights.files, precision))
    loading_kwargs = {"device_map": "auto"} if spread else {}
    model = load_weights(kind, checkpoint.directory, precision, **loading_kwargs)
    check_image_side(transform.side, model, checkpoint.label)
    model = model if spread else model.to(chosen)
    freeze_linears(model)
    if hasattr(model, "hf_device_map") and hasattr(model, "_preprocess_accelerate"):
        model._preprocess_accelerate()
    vision = model.vision_model if hasattr(model, "vision_model") else model.base_model.vision_tower
    return model, next(vision.parameters()).device, transform


def _too_large(files: tuple[Path, ...], dtype: torch.dtype) -> bool:
    numbers = sum(_numbers(file) for file in files)
    free, _ = torch.cuda.mem_get_info()
    return numbers * dtype.itemsize > _SHARE_OF_CARD * free


def _numbers(file: Path) -> int:
    """Count the numbers in a weights file."""
    if file.suffix == ".safetensors":
        return sum(math.prod(shape) for shape in safetensors_shapes(file).values())
    tensors = torch.load(file, map_location="meta", weights_only=True)
    return sum(tensor.numel() for tensor in tensors.values())

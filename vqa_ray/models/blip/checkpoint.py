"""Loading a checkpoint of the BLIP families, and the ways in which one would be silently wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.files import image_processor_config, read_json, weight_files
from vqa_ray.models.checkpoint.weight_files import safetensors_shapes
from vqa_ray.models.checkpoint.weights import load_text_tokenizer, load_weights
from vqa_ray.models.layers.device import choose_device, choose_dtype
from vqa_ray.models.layers.linear import freeze_linears
from vqa_ray.models.transforms.square import SquareTransform, transform_from_config

SPREAD = "auto"
IMAGE_TOKEN = "<image>"
# The part of a card's free memory that weights may take; the rest is for what is computed.
_SHARE_OF_CARD = 0.8


class Normalisation(Protocol):
    """Of each channel, for pixels scaled to 0-1."""

    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


class Normalizer:
    """Images as the vision encoder wants them: what transformers' processor does, on the device.

    Args:
        transform: the checkpoint's.
        device, dtype: of the vision encoder.
    """

    def __init__(self, transform: Normalisation, device: torch.device, dtype: torch.dtype) -> None:
        self._mean = torch.tensor(transform.mean, device=device)
        self._std = torch.tensor(transform.std, device=device)
        self._dtype = dtype

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → normalised (B, 3, H, W)."""
        normalised = (pixels.float() / 255 - self._mean) / self._std
        return normalised.permute(0, 3, 1, 2).contiguous().to(self._dtype)


def load(kind: Any, path: Path, *, device: str | None, dtype: str | None) -> tuple[Any, torch.device, SquareTransform]:
    """Load a model class of transformers.

    Where it does not fit into one card and there are several, it is spread over them.

    Args:
        kind: `Blip2ForConditionalGeneration`, …
        path: the checkpoint's directory.
        device, dtype: names; None chooses for the machine, device `auto` spreads the model over all cards.

    Returns:
        The model in evaluation mode; the device that takes its pixels; its image transform.

    Raises:
        ModelLoadError: weights are missing or do not fit, or device or dtype do not exist.
    """
    origin = f"model {path}"
    chosen = choose_device(None if device == SPREAD else device)
    config = read_json(path, "config.json")
    number = choose_dtype(dtype, chosen, config, origin)
    transform = transform_from_config(image_processor_config(path), origin)
    files = weight_files(path)
    spread = device == SPREAD or (device is None and torch.cuda.device_count() > 1 and _too_large(files, number))
    placed = {"device_map": "auto"} if spread else {}
    model = load_weights(kind, path, number, **placed)
    side = model.config.vision_config.image_size
    if transform.side != side:
        raise ModelLoadError(
            f"{origin}: its processor makes images of {transform.side} pixels, its encoder takes {side}"
        )
    model = model if spread else model.to(chosen)
    freeze_linears(model)
    if hasattr(model, "hf_device_map") and hasattr(model, "_preprocess_accelerate"):
        model._preprocess_accelerate()
    return model, next(model.vision_model.parameters()).device, transform


def load_tokenizer(path: Path, image_token: int | None) -> Any:
    """The checkpoint's tokenizer.

    Args:
        path: its directory.
        image_token: the id that the config gives `<image>`; None where the family has none.

    Raises:
        ModelLoadError: there is none, it cannot pad, or it lacks the image token.
    """
    origin = f"model {path}"
    tokenizer = load_text_tokenizer(path)
    if image_token is not None and tokenizer.get_vocab().get(IMAGE_TOKEN) != image_token:
        found = tokenizer.get_vocab().get(IMAGE_TOKEN)
        raise ModelLoadError(
            f"{origin}: its tokenizer gives {IMAGE_TOKEN} the id {found}, config.json's image_token_index is "
            f"{image_token}; they must agree, or images have no place in the text"
        )
    return tokenizer


def context_limit(text_config: Any, tokenizer: Any) -> int:
    """Tokens that a language model reads at most: its position table, else what its tokenizer was made for."""
    positions = getattr(text_config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        return positions
    length = tokenizer.model_max_length
    return int(length) if length < 1_000_000 else 512


def _too_large(files: list[Path], dtype: torch.dtype) -> bool:
    numbers = sum(_numbers(file) for file in files)
    free, _ = torch.cuda.mem_get_info()
    return numbers * dtype.itemsize > _SHARE_OF_CARD * free


def _numbers(file: Path) -> int:
    """How many numbers a weights file holds."""
    if file.suffix == ".safetensors":
        return sum(math.prod(shape) for shape in safetensors_shapes(file).values())
    tensors = torch.load(file, map_location="meta", weights_only=True)
    return sum(tensor.numel() for tensor in tensors.values())

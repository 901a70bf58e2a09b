"""What transformers computes of the sizes of images, computed on the host, so that it does not read them from a device.

The towers of Qwen's kind take these tensors as arguments (`transformers.vision_utils`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.layers.device import send

_GLM = ("glm4v", "glm4v_moe", "glm46v")
_PADDLE = "paddleocr_vl"
_QWEN_VISION = (
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "exaone4_5"),
    *(*_GLM, _PADDLE),
)
# Lengths, rows and columns, which transformers turns into numbers of Python.
READ_BY_HOST = ("image_sizes", "batch_num_images", "image_grid_thw", "image_cu_seqlens", "image_cu_window_seqlens")
_CHECKS = "TRANSFORMERS_DISABLE_TORCH_CHECK"


def send_inputs(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Send the arguments of a model to its device, but for those whose numbers the host needs to shape its work."""
    kept = READ_BY_HOST if model.config.model_type in _QWEN_VISION else READ_BY_HOST[:2]
    return {
        name: send(given, model.device) if isinstance(given, Tensor) and name not in kept else given
        for name, given in inputs.items()
    }


def read_less(model: Any) -> None:
    """Change what a model of transformers reads from the device where it can do without, with the same result."""
    language_model: Any = getattr(model.base_model, "language_model", object())
    if hasattr(language_model, "_deepstack_process"):
        language_model._deepstack_process = _with_image_features
    if model.config.model_type in _GLM:
        _keep_lengths_on_host(model)


def _with_image_features(hidden: Tensor, is_image: Tensor, features: Tensor) -> Tensor:
    """Add features (images' tokens, D) to the hidden states (R, L, D) of image tokens; `is_image` is bool (R, L)."""
    places, values = is_image[..., None].to(hidden.device), features.to(hidden.device, hidden.dtype)
    return hidden + torch.zeros_like(hidden).masked_scatter(places, values)


def _keep_lengths_on_host(model: Any) -> None:
    """Let a tower of GLM take the lengths of its images from the host; its embeddings alone want them on the device."""

    def sent(embeddings: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        device = embeddings.position_embedding.weight.device
        return tuple(send(each, device) if each.device.type == "cpu" else each for each in given)

    model.base_model.visual.embeddings.register_forward_pre_hook(sent)


def vision_arguments(model: Any, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return what a tower of Qwen's kind makes of the grids of its images; nothing for others."""
    if model.config.model_type not in _QWEN_VISION or "image_grid_thw" not in inputs:
        return {}
    from transformers import vision_utils

    tower, grid = model.base_model.visual, inputs["image_grid_thw"]
    merge = 1
    if model.config.model_type == _PADDLE:
        # It joins patches behind its tower.
        tower = tower.vision_model.embeddings
    else:
        merge = tower.spatial_merge_size
    found = {
        "position_ids": vision_utils.get_vision_position_ids(grid, merge),
        "cu_seqlens": vision_utils.get_vision_cu_seqlens(grid),
    }
    if hasattr(tower, "window_size"):
        found["window_index"], found["cu_window_seqlens"] = vision_utils.get_vision_window_index(
            grid, spatial_merge_size=merge, window_size=tower.window_size, patch_size=tower.patch_size
        )
    if hasattr(tower, "interpolation_mode"):
        indices, weights = vision_utils.get_vision_interpolation_indices_and_weights(
            grid,
            num_grid_per_side=tower.num_grid_per_side,
            mode=tower.interpolation_mode,
            align_corners=tower.interpolation_align_corners,
            spatial_merge_size=merge,
        )
        found |= {"interp_indices": indices, "interp_weights": weights}
    return {f"image_{name}": value for name, value in found.items()}


def image_positions(model: Any, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    """Return the positions (3, R, L) of rows, and how far each row's text is ahead of its tokens (R,).

    None for families whose images take as many positions as tokens.
    """
    if not has_image_positions(model):
        return None
    known = {name: inputs[name] for name in ("mm_token_type_ids", "image_grid_thw", "attention_mask") if name in inputs}
    places, ahead = model.base_model.get_rope_index(inputs["input_ids"], **known)
    return places, ahead[:, 0]


def has_image_positions(model: Any) -> bool:
    """Return whether a position is of time, height and width, as in Qwen-VL."""
    return hasattr(model.base_model, "get_rope_index")


class CountedImages:
    """Whether the features of images are as many as their tokens, which transformers reads from the device to check.

    The first pass on a device is checked: processor and weights of a checkpoint agree or do not.
    """

    def __init__(self, device: torch.device) -> None:
        self._checks = True
        self._keeps_checking = device.type != "cuda"

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """Let transformers check what runs in this context, if need be."""
        before = os.environ.get(_CHECKS)
        if not self._checks:
            os.environ[_CHECKS] = "1"
        try:
            yield
            self._checks = self._keeps_checking
        finally:
            if before is None:
                os.environ.pop(_CHECKS, None)
            else:
                os.environ[_CHECKS] = before

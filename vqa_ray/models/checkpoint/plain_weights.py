"""Weights that need no conversion: safetensors whose names and shapes are those of the modules they are for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.weight_files import find_weights
from vqa_ray.models.checkpoint.weights import check_finite

# Buffers that old checkpoints hold and no module reads.
_IGNORED = "position_ids"


class Linear(nn.Linear):
    """A product whose weights are loaded, not drawn: torch would draw meta tensors through its whole compiler."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Embedding(nn.Embedding):
    """See `Linear`."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class LayerNorm(nn.LayerNorm):
    """See `Linear`."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Conv2d(nn.Conv2d):
    """See `Linear`."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


def load_plain_weights(modules: nn.Module, path: Path, dtype: torch.dtype) -> bool:
    """Give modules on the meta device their weights, frozen, in evaluation mode.

    Args:
        modules: without persistent buffers.
        path: the checkpoint's directory.
        dtype: of the weights in memory.

    Returns:
        Whether all weights were there, none was left over and all shapes fit; the modules are untouched otherwise.

    Raises:
        ModelLoadError: the checkpoint has no weights, or a part of them is missing, damaged or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    stored = find_weights(path)
    if stored.pickled or adapter_of(path) is not None:
        return False
    for file in stored.files:
        try:
            weights |= load_file(file)
        except (SafetensorError, OSError):
            return False
    wanted = {name: tensor.shape for name, tensor in modules.state_dict().items()}
    found = {name: tensor for name, tensor in weights.items() if not name.endswith(_IGNORED)}
    if {name: tensor.shape for name, tensor in found.items()} != wanted:
        return False
    if not all(tensor.is_floating_point() for tensor in found.values()):
        return False
    modules.load_state_dict({name: tensor.to(dtype) for name, tensor in found.items()}, assign=True)
    check_finite(modules, f"model {path}")
    modules.eval().requires_grad_(False)
    return True

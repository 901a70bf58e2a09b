"""Pixels to the tokens that a vision encoder begins with, by one product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.layers.linear import FrozenLinear


class Patches:
    """The patch convolution of a vision encoder with the normalisation of its images folded in.

    W·((u / 255 - mean) / std) + b = (W / 255 std)·u + (b - W·(mean / std)): the same result up to rounding, from pixels
    that are whole numbers up to 255, which bfloat16 holds exactly.

    Args:
        convolution: its stride is its kernel's size.
        mean, std: of the normalisation, per channel, for pixels scaled to 0-1.
    """

    def __init__(self, convolution: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        weight = convolution.weight.detach()
        self._patch: int = weight.shape[-1]
        self._dtype = weight.dtype
        # (D, 3, p, p) → (D, p, p, 3), as pixels lie.
        wide = weight.double().permute(0, 2, 3, 1)
        centre, spread = (torch.tensor(values, dtype=torch.float64, device=weight.device) for values in (mean, std))
        scaled = wide / spread
        bias = -(scaled * centre).sum(dim=(1, 2, 3))
        if convolution.bias is not None:
            bias = bias + convolution.bias.double()
        self._product = FrozenLinear((scaled / 255).flatten(1).to(self._dtype), bias.to(self._dtype))

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → (B, patches, D) in row-major order; pixels beyond the last whole patch are not seen."""
        batch, height, width, _ = pixels.shape
        side = self._patch
        rows, columns = height // side, width // side
        seen = pixels[:, : rows * side, : columns * side]
        cut = seen.view(batch, rows, side, columns, side, 3).permute(0, 1, 3, 2, 4, 5)
        return self._product(cut.reshape(batch, rows * columns, -1).to(self._dtype))

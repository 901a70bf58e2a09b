"""Normalisation of pixels on the device, as transformers' image processors do it on the CPU."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Normalisation(Protocol):
    """Mean and standard deviation of each channel, for pixels scaled to 0-1."""

    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


class Normalizer:
    """Normalises images for a vision encoder, on its device."""

    def __init__(self, transform: Normalisation, device: torch.device, dtype: torch.dtype) -> None:
        self._mean = torch.tensor(transform.mean, device=device)
        self._std = torch.tensor(transform.std, device=device)
        self._dtype = dtype

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → normalised (B, 3, H, W)."""
        normalised = (pixels.float() / 255 - self._mean) / self._std
        return normalised.permute(0, 3, 1, 2).contiguous().to(self._dtype)

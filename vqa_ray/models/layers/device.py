"""The device and the number format to compute in."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.float16 import half_refusal, overflowing_type
from vqa_ray.models.named_device import named_device

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str | None) -> torch.device:
    """Return the named device, or CUDA where there is one, else the CPU.

    Raises:
        ModelLoadError: the named device does not exist here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return named_device(name)


def choose_dtype(
    name: str | None, device: torch.device, config: Mapping[str, Any] | None = None, label: str = "dtype float16"
) -> torch.dtype:
    """Return the named dtype, or the best of the device: bfloat16 if native, else float16 on CUDA, else float32.

    Args:
        name: `float32`, `bfloat16`, `float16` or None.
        device: what computes.
        config: the model's config.json, which decides whether it can be computed in float16; None, as in training,
            never chooses float16.
        label: who is named in an error, `model DIRECTORY`.

    Raises:
        ModelLoadError: an unknown name, or float16 for a model that overflows in it.
    """
    if name is None:
        if _multiplies_bfloat16(device):
            return torch.bfloat16
        half = device.type == "cuda" and config is not None and overflowing_type(config) is None
        return torch.float16 if half else torch.float32
    if name not in DTYPES:
        raise ModelLoadError(f"dtype {name!r} is not supported; there are {', '.join(sorted(DTYPES))}")
    if DTYPES[name] == torch.float16:
        refusal = half_refusal(config or {})
        if refusal:
            raise ModelLoadError(f"{label}: {refusal}")
        if device.type == "cpu":
            logger.warning("float16 on a CPU is slower than float32, and no more exact")
    return DTYPES[name]


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to the device, without waiting for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def send_indices(values: Sequence[int] | Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Send whole numbers, or rows of them of one length, as int64 to the device, without waiting for it."""
    return send(torch.tensor(values, dtype=torch.long), device)

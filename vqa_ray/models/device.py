"""Which device and number format to compute in."""

from __future__ import annotations

import torch

from vqa_ray.errors import ModelLoadError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(name: str | None) -> torch.device:
    """The named device, or CUDA where there is one, else the CPU.

    Raises:
        ModelLoadError: the named device does not exist here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelLoadError(f"device {name!r} is not one torch knows; for instance cpu, cuda, cuda:1") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelLoadError(f"device {name!r} was asked for, but torch sees no CUDA device here")
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The named dtype, or bfloat16 where the device multiplies in it, else float32.

    Raises:
        ModelLoadError: an unknown name.
    """
    if name is None:
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    if name not in DTYPES:
        raise ModelLoadError(f"dtype {name!r} is not supported; there are {', '.join(sorted(DTYPES))}")
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

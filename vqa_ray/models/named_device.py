"""A device by its name, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vqa_ray.errors import ModelLoadError

if TYPE_CHECKING:
    import torch


def named_device(name: str) -> torch.device:
    """Return a device of this machine.

    Raises:
        ModelLoadError: torch does not know the name, or the machine lacks the device.
    """
    import torch

    try:
        device = torch.device(name)
        present = torch.get_device_module(device).device_count()
    except RuntimeError as error:
        raise ModelLoadError(f"device {name!r} is not one torch knows; for instance cpu, cuda, cuda:1") from error
    if (device.index or 0) >= present:
        raise ModelLoadError(
            f"--device {name}: torch sees {present} {device.type.upper()} devices here; expected cpu, or no --device"
        )
    return device

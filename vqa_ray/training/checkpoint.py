"""A checkpoint of training: what a trainer needs to go on, and a marker, written last, that says it is whole."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqa_ray.errors import RunError, one_line
from vqa_ray.storage.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from vqa_ray.training.step import Trainer

_WEIGHTS = "state.pt"
_MARKER = "state.json"
_FORMAT = 1


def save_state(directory: Path, trainer: Trainer[Any], extra: Mapping[str, Any]) -> None:
    """Write a trainer's state into a directory; an older one in it is replaced.

    Args:
        directory: where to write.
        trainer: what to write.
        extra: what else a resumed run must know, as JSON can hold it.

    Raises:
        RunError: the directory cannot be written.
    """
    import torch

    marker, weights = directory / _MARKER, directory / _WEIGHTS
    try:
        directory.mkdir(parents=True, exist_ok=True)
        marker.unlink(missing_ok=True)
        torch.save(trainer.state_dict(), weights)
        content = {"format": _FORMAT, "step": trainer.step, "bytes": weights.stat().st_size, "extra": dict(extra)}
        write_bytes_atomic(str(marker), json.dumps(content, indent=1).encode())
    except (OSError, RuntimeError) as error:
        reason = one_line(error, 160) or type(error).__name__
        raise RunError(f"checkpoint {directory}: cannot be written: {reason}") from error


def read_extra(directory: Path) -> dict[str, Any]:
    """Read what `save_state` was given beside the trainer, without loading any weights.

    Raises:
        RunError: the checkpoint was cut short, or is of another version.
    """
    marker, weights = directory / _MARKER, directory / _WEIGHTS
    if not marker.is_file():
        raise RunError(f"checkpoint {directory}: cut short: {_MARKER}, which is written last, is missing")
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        version, size, extra = content["format"], content["bytes"], content["extra"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"checkpoint {directory}: cut short: {_MARKER} is not whole: {error}") from error
    if version != _FORMAT:
        raise RunError(f"checkpoint {directory}: format {version}, this version reads {_FORMAT}")
    found = weights.stat().st_size if weights.is_file() else 0
    if found != size:
        raise RunError(f"checkpoint {directory}: cut short: {_WEIGHTS} has {found} bytes of {size}")
    return dict(extra)


def load_state(directory: Path, trainer: Trainer[Any]) -> dict[str, Any]:
    """Take up what `save_state` wrote, and give back its `extra`.

    Raises:
        RunError: the checkpoint was cut short, is damaged, or is of another network.
    """
    import torch

    extra = read_extra(directory)
    try:
        state = torch.load(directory / _WEIGHTS, map_location=trainer.device, weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"checkpoint {directory}: {_WEIGHTS} is damaged: {reason}") from error
    try:
        trainer.load_state_dict(state)
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(f"checkpoint {directory}: does not fit this training: {error}") from error
    except RunError as error:
        raise RunError(f"checkpoint {directory}: {error}") from error
    return extra

"""The weights of the chat model that a training begins with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from vqa_ray.models.checkpoint.weights import load_weights


def load_chat(path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> Any:
    """Load a chat model, frozen, on the CPU.

    Args:
        path: a checkpoint's directory.
        dtype: of its weights.

    Raises:
        ModelLoadError: weights that are missing, damaged or of another shape.
    """
    from transformers import AutoModelForImageTextToText

    return load_weights(AutoModelForImageTextToText, Path(path), dtype)

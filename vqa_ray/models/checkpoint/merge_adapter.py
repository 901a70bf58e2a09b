"""A LoRA adapter (peft) added to the weights of the model that it was trained on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError, one_line
from vqa_ray.models.checkpoint.adapter import require_peft
from vqa_ray.models.checkpoint.adapter_fit import PREFIX
from vqa_ray.models.checkpoint.file_selection import ADAPTER_WEIGHTS
from vqa_ray.models.checkpoint.weight_files import safetensors_shapes


def replaced_weights(adapter: Path) -> frozenset[str]:
    """Return the weights that an adapter brings whole (peft's `modules_to_save`), by their names in the base model."""
    file = adapter / ADAPTER_WEIGHTS[0]
    names = safetensors_shapes(file) if file.is_file() else _pickled_names(adapter / ADAPTER_WEIGHTS[1])
    return frozenset(name.removeprefix(PREFIX) for name in names if ".lora_" not in name)


def merge_adapter(model: Any, adapter: Path, label: str) -> Any:
    """Return the model with the adapter merged into it, of its own class again.

    Raises:
        ModelLoadError: the adapter does not fit the model, or adapts nothing of it.
    """
    require_peft(label)
    from peft import PeftModel

    with warnings.catch_warnings():
        # peft asks transformers for a property by the name it had before; absent keys become an error below.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        warnings.filterwarnings("error", message="Found missing adapter keys")
        try:
            return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=False)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, UserWarning) as error:
            raise ModelLoadError(
                f"{label}: its LoRA adapter does not fit its base model: {one_line(error, 240)}"
            ) from error


def _pickled_names(file: Path) -> list[str]:
    import torch

    tensors: dict[str, Any] = torch.load(file, map_location="meta", weights_only=True)
    return list(tensors)

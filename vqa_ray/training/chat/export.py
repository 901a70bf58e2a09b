"""A trained chat model, written as the directory of a whole model, and as that of its adapter alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.checkpoint.file_selection import CONFIG, SAFETENSORS_INDEX, small_names
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.layers.device import DTYPES
from vqa_ray.training.chat.parts import plain_model
from vqa_ray.training.export import write_model

_ADAPTER = "default"
_DTYPES = ("dtype", "torch_dtype")


def export_merged(destination: str, model: Any, checkpoint: Checkpoint, dtype: str) -> None:
    """Write a model to a directory or URI, its adapters added to its weights; the model stays as it is.

    Tensors have the names of the hub; tokenizer, processor, chat template, generation config and all of `config.json`
    but its dtype are those of the checkpoint that the training began with.

    Args:
        destination: a local directory or URI.
        model: of transformers, or one with adapters.
        checkpoint: what the training began with.
        dtype: of the written weights.

    Raises:
        RunError: the destination cannot be written.
    """
    base = plain_model(model)
    weights = merged_weights(base, DTYPES[dtype])

    def write(staged: Path) -> None:
        base.save_pretrained(staged, state_dict=weights)
        own = {path.name for path in staged.glob("*.safetensors*")}
        for name in small_names(p.relative_to(checkpoint.directory).as_posix() for p in _files(checkpoint.directory)):
            if name != SAFETENSORS_INDEX and name not in own:
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(checkpoint.directory / name, staged / name)
        (staged / CONFIG).write_text(json.dumps(in_dtype(dict(checkpoint.config), dtype), indent=2), encoding="utf-8")

    write_model(destination, write)


def export_adapter(destination: str, model: Any) -> None:
    """Write adapters alone to a directory or URI, in the layout of peft.

    Args:
        destination: a local directory or URI.
        model: with adapters, which name their base.

    Raises:
        RunError: the destination cannot be written.
    """

    def write(staged: Path) -> None:
        # Embeddings are not trained; left to decide, peft would ask the hub whether the vocabulary has grown.
        model.save_pretrained(staged, save_embedding_layers=False)
        # peft's card is a form to fill in.
        (staged / "README.md").unlink(missing_ok=True)

    write_model(destination, write)


@torch.no_grad()
def merged_weights(base: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the weights of a network on the CPU, its adapters added to them, by the names without adapters.

    Args:
        base: of transformers; peft has put adapters into its layers, or it is plain.
        dtype: of the result; integers keep theirs.
    """
    adapted = {name: module for name, module in base.named_modules() if hasattr(module, "get_delta_weight")}
    found: dict[str, Tensor] = {}
    # Tied weights stay one tensor, of which one name is written.
    cast: dict[tuple[int, torch.Size], Tensor] = {}
    for name, weight in base.state_dict().items():
        if ".lora_" in name or ".original_module." in name:
            continue
        layer = name.removesuffix(".base_layer.weight")
        if layer != name:
            found[f"{layer}.weight"] = _to(weight.float() + adapted[layer].get_delta_weight(_ADAPTER).float(), dtype)
            continue
        key = weight.data_ptr(), weight.shape
        cast.setdefault(key, _to(weight, dtype))
        found[name.replace(".base_layer.", ".").replace(f".modules_to_save.{_ADAPTER}.", ".")] = cast[key]
    return found


def in_dtype(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Return a `config.json` that states another dtype wherever it states one."""

    def restated(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return in_dtype(value, dtype)
        return dtype if name in _DTYPES and value is not None else value

    return {name: restated(name, value) for name, value in config.items()}


def _to(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.detach().to("cpu", dtype if weight.is_floating_point() else None)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())

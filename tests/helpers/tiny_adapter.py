"""Tiny LoRA adapters of chat checkpoints, written and merged without peft."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

LAYER = "self_attn.q_proj"
_ALPHA = 16


def save_adapter(directory: Path, base: Path, *, rank: int = 2, seed: int = 0, within: str = "language_model") -> Path:
    """Write an adapter of the language model's queries, of random weights.

    Args:
        directory: to make.
        base: a chat checkpoint.
        rank: of the adapter.
        seed: of its weights.
        within: the part of the model whose layers it changes.
    """
    directory.mkdir()
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for number, weight in _weights(base).items():
        outputs, inputs = weight.shape
        layer = f"base_model.model.model.{within}.layers.{number}.{LAYER}"
        tensors[f"{layer}.lora_A.weight"] = torch.randn(rank, inputs, generator=generator)
        tensors[f"{layer}.lora_B.weight"] = torch.randn(outputs, rank, generator=generator)
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": _ALPHA, "target_modules": ["q_proj"], "bias": "none"}
    config |= {"base_model_name_or_path": str(base), "task_type": "CAUSAL_LM", "lora_dropout": 0.0}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return directory


def merge(directory: Path, base: Path, adapter: Path) -> Path:
    """Write the checkpoint that an adapter of `save_adapter` and its base make together."""
    shutil.copytree(base, directory)
    tensors, parts = load_file(base / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    rank = json.loads((adapter / "adapter_config.json").read_text())["r"]
    for number in _weights(base):
        first, second = (
            next(part for name, part in parts.items() if f".{number}.{LAYER}.lora_{which}." in name) for which in "AB"
        )
        tensors[_name(tensors, number)] += second @ first * (_ALPHA / rank)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def _weights(base: Path) -> dict[int, torch.Tensor]:
    tensors = load_file(base / "model.safetensors")
    return {number: tensors[_name(tensors, number)] for number in (0, 1)}


def _name(tensors: dict[str, torch.Tensor], number: int) -> str:
    ending = f"layers.{number}.{LAYER}.weight"
    return next(name for name in tensors if name.endswith(ending) and "vi" not in name)

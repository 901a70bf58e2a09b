"""The weights of tiny checkpoints in the other forms in which the hub holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vqa_ray.types import Answer


def to_pickles(directory: Path, *, shards: int = 1, zipped: bool = True) -> Path:
    """Replace `model.safetensors` by `pytorch_model.bin`, or by its shards with an index.

    Args:
        zipped: as torch writes since 1.6; the older layout cannot be mapped into memory.
    """
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    if shards == 1:
        torch.save(tensors, directory / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        return directory
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        own = {name: tensors[name] for name in names[shard::shards]}
        torch.save(own, directory / file, _use_new_zipfile_serialization=zipped)
        weight_map |= dict.fromkeys(own, file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


def nearly(rows: Sequence[Sequence[Answer]]) -> list[list[Any]]:
    """The texts of answers and their scores, equal to those of the same weights from a file of another kind.

    Where weights begin in memory decides on some CPUs in which order they are added up.
    """
    return [[[(text, pytest.approx(score, abs=1e-5)) for text, score in each.answers] for each in row] for row in rows]

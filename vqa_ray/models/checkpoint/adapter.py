"""LoRA adapters: a directory without a model of its own, read together with the model it was trained on. No torch."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.assembled import assemble
from vqa_ray.models.checkpoint.file_selection import ADAPTER_CONFIG, ADAPTER_WEIGHTS, small_names
from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.models.checkpoint.weight_files import check_weight_file, find_weights

# Of an assembled directory: its subdirectory that holds the adapter. transformers would look for one beside the model.
ADAPTER_DIRECTORY = "adapter"
_MERGEABLE = ("LORA", "ADALORA")
_NAME = re.compile(r"[\w.-]+")


def adapter_of(path: Path) -> Path | None:
    """Return the adapter that belongs to an assembled checkpoint directory; None for a plain one."""
    found = path / ADAPTER_DIRECTORY
    return found if (found / ADAPTER_CONFIG).is_file() else None


def named_adapter(given: str) -> tuple[str, str]:
    """Read `NAME=DIRECTORY`, or a directory alone, whose last part is then the name: (name, reference)."""
    name, equals, place = given.partition("=")
    if equals and place and _NAME.fullmatch(name):
        return name, place
    return given.rstrip("/").rpartition("/")[2] or "adapter", given


def check_adapter(directory: Path, label: str) -> dict[str, Any]:
    """Check that a directory holds an adapter that can be put on a model, and return its config.

    Raises:
        ModelLoadError: the adapter has no weights, or is of another kind.
    """
    config = read_json(directory, ADAPTER_CONFIG)
    kind = config.get("peft_type")
    if kind not in _MERGEABLE:
        stated = f"of the kind {kind!r}" if kind else "which states no peft_type"
        raise ModelLoadError(
            f"{label}: is an adapter without a model of its own ({ADAPTER_CONFIG}), {stated}; those that are merged "
            f"into their base model are {', '.join(_MERGEABLE)}"
        )
    weights = _weights_of(directory)
    if weights is None:
        raise ModelLoadError(f"{label}: an adapter without weights; wanted {' or '.join(ADAPTER_WEIGHTS)} in it")
    check_weight_file(weights, weights.suffix == ".bin", label)
    return config


def base_of(directory: Path, label: str) -> str:
    """Return the reference of the base model of an adapter.

    Raises:
        ModelLoadError: see `check_adapter`; also if it names no base.
    """
    return _base_reference(check_adapter(directory, label), directory, label)


def require_peft(label: str) -> None:
    """Check that the package is there which merges adapters.

    Raises:
        ModelLoadError: it is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise ModelLoadError(
            f"{label}: a LoRA adapter, which needs a package that is missing: pip install 'vqa-ray[lora]'"
        )


def join_with_base(directory: Path, base: str, base_path: Path, label: str) -> Path:
    """Return a directory that holds an adapter and its base model.

    The adapter's own config, tokenizer and processor replace those of the base.

    Args:
        directory: of the adapter, which `base_of` has checked.
        base: reference and directory of its base model.
        base_path: reference and directory of its base model.
        label: what messages begin with.

    Raises:
        ModelLoadError: the base is an adapter too, or lacks weights.
    """
    if adapter_of(base_path) is not None:
        raise ModelLoadError(f"{label}: its base {base} is an adapter too; merge that one into its own base first")
    files: dict[str, Path | bytes] = {name: base_path / name for name in small_names(_names(base_path))}
    files |= {path.name: path for path in find_weights(base_path, f"model {base}").files}
    files |= {name: directory / name for name in small_names(_names(directory))}
    adapter = (directory / ADAPTER_CONFIG, _weights_of(directory))
    files |= {f"{ADAPTER_DIRECTORY}/{path.name}": path for path in adapter if path is not None}
    files.pop(ADAPTER_CONFIG)
    return assemble(files)


def _weights_of(directory: Path) -> Path | None:
    return next((directory / name for name in ADAPTER_WEIGHTS if (directory / name).is_file()), None)


def _base_reference(config: dict[str, Any], directory: Path, label: str) -> str:
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelLoadError(
            f"{label}: a LoRA adapter that names no base model (base_model_name_or_path of {ADAPTER_CONFIG} is "
            f"{base!r}), as one of a network trained from scratch; write the path, URI or hub name of its base there"
        )
    if "://" in base or base.startswith("bundled:") or Path(base).expanduser().is_dir():
        return base
    if not Path(base).is_absolute() and (directory / base).is_dir():
        return str((directory / base).resolve())
    revision = config.get("revision")
    return f"{base}@{revision}" if revision and re.fullmatch(r"[\w.-]+/[\w.-]+", base) else base


def _names(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())

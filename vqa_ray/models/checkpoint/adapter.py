"""LoRA adapters: a directory without a model of its own, read together with the model it was trained on. No torch."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.checkpoint.assembled import assemble
from vqa_ray.models.checkpoint.file_selection import ADAPTER_CONFIG, ADAPTER_WEIGHTS, small_names
from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.models.checkpoint.weight_files import check_weight_file, find_weights

# Of an assembled directory: its subdirectory that holds the adapter. transformers would look for one beside the model.
ADAPTER_DIRECTORY = "adapter"
_MERGEABLE = ("LORA", "ADALORA")


def adapter_of(path: Path) -> Path | None:
    """The adapter that belongs to an assembled checkpoint directory; None for a plain one."""
    found = path / ADAPTER_DIRECTORY
    return found if (found / ADAPTER_CONFIG).is_file() else None


def with_base(directory: Path, reference: str, locate: Callable[[str], Path]) -> tuple[Path, str]:
    """A directory in which an adapter and its base model lie together.

    The adapter's own config, tokenizer and processor go before the base's.

    Args:
        directory: of the adapter.
        reference: as the user gave it.
        locate: reference → local directory, for the base.

    Returns:
        The directory, and the reference of the base.

    Raises:
        ModelLoadError: no weights, no base, an adapter of another kind, or peft is not installed.
    """
    origin = f"model {reference}"
    config = read_json(directory, ADAPTER_CONFIG)
    kind = config.get("peft_type")
    if kind not in _MERGEABLE:
        raise ModelLoadError(
            f"{origin}: is an adapter without a model of its own ({ADAPTER_CONFIG}), of the kind {kind!r}; those that "
            f"are merged into their base model are {', '.join(_MERGEABLE)}"
        )
    weights = next((directory / name for name in ADAPTER_WEIGHTS if (directory / name).is_file()), None)
    if weights is None:
        raise ModelLoadError(f"{origin}: an adapter without weights; wanted {' or '.join(ADAPTER_WEIGHTS)} in it")
    check_weight_file(weights, weights.suffix == ".bin", origin)
    if importlib.util.find_spec("peft") is None:
        raise ModelLoadError(
            f"{origin}: a LoRA adapter, which needs a package that is missing: pip install 'vqa-ray[lora]'"
        )
    base = _base_reference(config, directory, origin)
    try:
        base_path = locate(base)
    except RequestError as error:
        raise ModelLoadError(f"{origin}: a LoRA adapter, and its base is not available: {error}") from error
    if adapter_of(base_path) is not None:
        raise ModelLoadError(f"{origin}: its base {base} is an adapter too; merge that one into its own base first")
    files: dict[str, Path | bytes] = {name: base_path / name for name in small_names(_names(base_path))}
    files |= {path.name: path for path in find_weights(base_path, f"model {base}").files}
    files |= {name: directory / name for name in small_names(_names(directory))}
    files |= {f"{ADAPTER_DIRECTORY}/{path.name}": path for path in (directory / ADAPTER_CONFIG, weights)}
    files.pop(ADAPTER_CONFIG)
    return assemble(files), base


def _base_reference(config: dict[str, Any], directory: Path, origin: str) -> str:
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelLoadError(
            f"{origin}: a LoRA adapter that names no base model (base_model_name_or_path of {ADAPTER_CONFIG} is "
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

"""Directories in the layout of sentence-transformers: where the CLIP model lies in one. No torch."""

from __future__ import annotations

import json
from pathlib import Path

from vqa_ray.errors import ModelLoadError

# Class names of sentence-transformers; our encoders normalise vectors themselves.
_MODEL_MODULES, _HARMLESS_MODULES = ("CLIPModel", "Transformer"), ("Normalize",)


def inner_directory(directory: Path) -> Path:
    """Return the directory, or the one within it that the `modules.json` of sentence-transformers names.

    Raises:
        ModelLoadError: the file is damaged, or lists more than a CLIP model.
    """
    path = directory / "modules.json"
    if not path.is_file():
        return directory
    try:
        modules = json.loads(path.read_bytes())
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        inner = directory / str(modules[0]["path"])
    except (UnicodeDecodeError, ValueError, LookupError, TypeError) as error:
        raise ModelLoadError(f"model {directory}: modules.json is not one of sentence-transformers: {error}") from error
    if kinds[0] not in _MODEL_MODULES or any(kind not in _HARMLESS_MODULES for kind in kinds[1:]):
        raise ModelLoadError(
            f"model {directory}: modules.json lists {', '.join(kinds)}; of sentence-transformers directories those of "
            f"one CLIPModel are supported, with Normalize behind it at most"
        )
    if not inner.resolve().is_relative_to(directory.resolve()):
        raise ModelLoadError(f"model {directory}: modules.json leads out of the directory, to {modules[0]['path']!r}")
    return inner

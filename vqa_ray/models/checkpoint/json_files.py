"""The JSON files of a checkpoint. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.storage.git_lfs import POINTER


def read_json(directory: Path, name: str, *, required: bool = True) -> dict[str, Any]:
    """Read a JSON object of the checkpoint; empty if the file is absent and not required.

    Raises:
        ModelLoadError: the file is missing though required, or not a JSON object.
    """
    path = directory / name
    if not path.is_file():
        if required:
            raise ModelLoadError(f"model {directory}: {name} is missing; wanted a directory in save_pretrained layout")
        return {}
    return parse_json(path.read_bytes(), directory, name)


def parse_json(data: bytes, directory: Path, name: str) -> dict[str, Any]:
    """Parse the contents of one of the checkpoint's JSON files; a byte order mark may precede them.

    Raises:
        ModelLoadError: they are not a JSON object.
    """
    try:
        # `json` detects the encoding of bytes.
        content = json.loads(data)
    except RecursionError as error:
        raise ModelLoadError(f"model {directory}: {name} is not JSON: nested too deeply") from error
    except ValueError as error:
        if data.startswith(POINTER):
            raise ModelLoadError(
                f"model {directory}: {name} is a Git LFS pointer, not the file; run `git lfs pull` in its repository"
            ) from error
        raise ModelLoadError(f"model {directory}: {name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"model {directory}: {name} holds a {type(content).__name__}, wanted an object")
    return content


def image_processor_config(directory: Path) -> dict[str, Any]:
    """Read the image processor's settings, from `processor_config.json` or the older `preprocessor_config.json`.

    Raises:
        ModelLoadError: the checkpoint has neither.
    """
    nested = read_json(directory, "processor_config.json", required=False).get("image_processor")
    if isinstance(nested, dict):
        return nested
    old = read_json(directory, "preprocessor_config.json", required=False)
    if not old:
        raise ModelLoadError(
            f"model {directory}: no image processor: preprocessor_config.json is missing, and processor_config.json "
            "has none; copy it from the model that this one was trained from"
        )
    return old

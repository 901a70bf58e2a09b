"""The JSON files of a checkpoint. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError


def read_json(directory: Path, name: str, *, required: bool = True) -> dict[str, Any]:
    """A JSON object of the checkpoint, with or without a byte order mark; empty when it is absent and not required.

    Raises:
        ModelLoadError: missing though required, or not a JSON object.
    """
    path = directory / name
    if not path.is_file():
        if required:
            raise ModelLoadError(f"model {directory}: {name} is missing; wanted a directory in save_pretrained layout")
        return {}
    try:
        # Of bytes, `json` finds the encoding itself.
        content = json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelLoadError(f"model {directory}: {name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"model {directory}: {name} holds a {type(content).__name__}, wanted an object")
    return content


def image_processor_config(directory: Path) -> dict[str, Any]:
    """The image processor's settings, from the new layout (`processor_config.json`) or the old.

    Raises:
        ModelLoadError: neither is there.
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

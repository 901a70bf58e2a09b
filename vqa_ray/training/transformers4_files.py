"""The files of a processor as transformers 4 reads them, beside those that transformers 5 writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# How the tokenizer was loaded here, which transformers 5 saves with it; nobody else should load it so.
_OF_THIS_MACHINE = ("is_local", "local_files_only")


def add_older_files(directory: Path) -> None:
    """Write `preprocessor_config.json`, which transformers 4 looks for, from `processor_config.json`.

    Of `tokenizer_config.json`, take out how the tokenizer was loaded on this machine.
    """
    processor = _read(directory / "processor_config.json")
    images = {**processor["image_processor"], "processor_class": processor["processor_class"]}
    _write(directory / "preprocessor_config.json", images)
    tokenizer = _read(directory / "tokenizer_config.json")
    _write(
        directory / "tokenizer_config.json",
        {name: value for name, value in tokenizer.items() if name not in _OF_THIS_MACHINE},
    )


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""The end of training: a directory that `from_pretrained` and every job here load, whole or not at all."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError, RunError
from vqa_ray.models.layers.device import DTYPES
from vqa_ray.storage import filesystem as storage
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import redacted_uri, scheme_of

_LAST = "config.json"


def in_dtype(model: Any, dtype: str) -> Any:
    """Return the model on the CPU with its weights in `float32` or `bfloat16`.

    Raises:
        RequestError: another dtype.
    """
    if dtype not in DTYPES:
        raise RequestError(f"export dtype {dtype!r} is not supported; there are {', '.join(sorted(DTYPES))}")
    return model.cpu().to(DTYPES[dtype])


def write_model(destination: str, write: Callable[[Path], None]) -> None:
    """Write a model directory to a local directory or URI, whole or not at all.

    Args:
        destination: a local directory or URI.
        write: fills an empty local directory.

    Raises:
        RunError: the destination cannot be written.
    """
    local = scheme_of(destination) == "file"
    target = Path(storage.filesystem_for(destination)[1]) if local else None
    try:
        if target is not None:
            target.mkdir(parents=True, exist_ok=True)
        # Staged within a local destination, so that moving is renaming.
        with tempfile.TemporaryDirectory(dir=target, prefix=".export-") as name:
            staged = Path(name)
            with _without_bars():
                write(staged)
            if target is not None:
                _move(staged, target)
            else:
                _upload(staged, destination)
    except store_failures(RuntimeError) as error:
        reason = store_reason(error, named=True)
        raise RunError(f"export to {redacted_uri(destination)}: cannot be written: {reason}") from error


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars while the block runs."""
    from transformers.utils import logging

    was_drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_drawn:
            with warnings.catch_warnings():
                # The hub's client has a setting of its own, which wins.
                warnings.filterwarnings("ignore", message="Cannot enable progress bars")
                logging.enable_progress_bar()


def _ordered(directory: Path) -> list[Path]:
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return sorted(files, key=lambda path: path.name == _LAST)


def _move(staged: Path, target: Path) -> None:
    (target / _LAST).unlink(missing_ok=True)
    for path in _ordered(staged):
        exported = target / path.relative_to(staged)
        exported.parent.mkdir(parents=True, exist_ok=True)
        path.replace(exported)


def _upload(staged: Path, destination: str) -> None:
    filesystem, root = storage.fsspec_for(destination)
    last = f"{root.rstrip('/')}/{_LAST}"
    if filesystem.exists(last):
        filesystem.rm_file(last)
    for path in _ordered(staged):
        filesystem.put_file(str(path), f"{root.rstrip('/')}/{path.relative_to(staged).as_posix()}")

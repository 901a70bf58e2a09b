"""Messages on standard error, as text or JSON lines."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

from vqa_ray.json_lines import JsonFormatter


def configure(quiet: bool, log_format: str) -> None:
    """Send the messages of this project to standard error.

    Args:
        quiet: warnings and errors only.
        log_format: `text` or `json`.
    """
    handler = logging.StreamHandler(console())
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter("%(message)s"))
    logger = logging.getLogger("vqa_ray")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False


def are_json() -> bool:
    """Whether the messages of this project are JSON lines."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger("vqa_ray").handlers)


@contextmanager
def of_run(run_id: str) -> Iterator[None]:
    """Put the id of a run into every JSON line while the block runs."""
    before, JsonFormatter.run_id = JsonFormatter.run_id, run_id
    try:
        yield
    finally:
        JsonFormatter.run_id = before


@contextmanager
def warnings_only() -> Iterator[None]:
    """Send warnings and errors only while the block runs."""
    logger = logging.getLogger("vqa_ray")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@cache
def console() -> TextIO:
    """Open standard error as it was when the process began, whatever descriptor 2 points to by now."""
    number = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    # Open until the process ends: threads may still log then.
    return os.fdopen(number, "w", buffering=1, closefd=False)


@contextmanager
def native_messages_to(file: Path) -> Iterator[None]:
    """Send what native code writes to descriptor 2 to a file: notes of Ray's C++ part concern no user."""
    # Where nothing was logged yet, the console must be taken before descriptor 2 points elsewhere.
    console()
    saved = os.dup(2)
    with file.open("ab") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)

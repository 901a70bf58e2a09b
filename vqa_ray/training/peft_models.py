"""Adapters by peft, whatever network carries them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def split_reference(base: str | None) -> tuple[str | None, str]:
    """Return name and revision of `org/name@revision`; anything else as it is."""
    if base is None or not re.fullmatch(r"[\w.-]+/[\w.-]+@[\w./-]+", base):
        return base, ""
    name, _, revision = base.partition("@")
    return name, revision


@contextmanager
def older_names() -> Iterator[None]:
    """Silence a warning: peft asks transformers for a property by its former name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield

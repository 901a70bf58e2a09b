"""Temporary replacement of attributes of Ray's own objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Set attributes of a class or module, and restore them when the block ends.

    Args:
        owner: the class or module.
        attributes: new values by name.

    Raises:
        AttributeError: `owner` has no attribute of this name: the installed Ray is built differently.
    """
    before = {name: vars(owner)[name] if name in vars(owner) else getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)

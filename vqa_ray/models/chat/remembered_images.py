"""An image processor that repeats what it made of the same images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from transformers import BatchFeature


class RememberedImages:
    """An image processor that reuses its earlier output for the same images."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._made: list[dict[str, Any]] = []
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, *images: Any, **options: Any) -> Any:
        if self._calls == len(self._made):
            self._made.append(dict(self._processor(*images, **options)))
        self._calls += 1
        # A copy of the mapping: processors take entries out of it.
        return BatchFeature(dict(self._made[self._calls - 1]))

    @contextlib.contextmanager
    def remembering(self, made: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
        """Answer the calls in this context from what was `made` of them, if anything; what they made is given back."""
        self._made, self._calls = list(made), 0
        try:
            yield self._made
        finally:
            self._made, self._calls = [], 0

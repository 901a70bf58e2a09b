"""A class that is imported when a model is loaded, and torch with it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LazyClass:
    """The place of a class of `vqa_ray.models`."""

    module: str
    name: str

    def load(self) -> Any:
        """Import the class."""
        return getattr(importlib.import_module(f"vqa_ray.models.{self.module}"), self.name)

"""Lets torchvision be imported where its compiled operators cannot be loaded; environment.sh installs it."""

from __future__ import annotations

import importlib.abc
import sys
from typing import Any

_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name != "torchvision":
            return
        sys.meta_path.remove(self)
        import torch

        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", _BOXES)


sys.meta_path.insert(0, _BeforeTorchvision())

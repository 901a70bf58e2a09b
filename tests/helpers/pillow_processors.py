"""Comparisons with the image processors of transformers that work on Pillow's images."""

from __future__ import annotations

import importlib.util

import pytest

with_pillow = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None,
    reason="where torchvision is, transformers resizes by it, and the test compares with Pillow's image processors",
)

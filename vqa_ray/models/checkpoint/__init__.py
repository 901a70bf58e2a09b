"""Checkpoint directories: find, download, check and load their files."""

from __future__ import annotations

from vqa_ray.former_names import getter

__getattr__ = getter(__name__)

"""Taxonomies: the questions, choices and thresholds by which images are tagged."""

from __future__ import annotations

from vqa_ray.former_names import getter

__getattr__ = getter(__name__)

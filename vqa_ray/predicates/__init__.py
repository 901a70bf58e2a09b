"""Boolean expressions of questions, such as "is there a dog?" and not "is it indoors?"."""

from __future__ import annotations

from vqa_ray.former_names import getter

__getattr__ = getter(__name__)

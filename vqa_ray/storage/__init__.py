"""Files on disks and object stores: URIs, atomic writes, errors."""

from __future__ import annotations

from vqa_ray.former_names import getter

__getattr__ = getter(__name__)

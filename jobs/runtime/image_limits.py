"""The limits of images that a spec sets."""

from __future__ import annotations

from vqa_ray.images.decoder import ImageLimits
from vqa_ray.jobs.spec.groups import ImageGroup


def image_limits(spec: ImageGroup) -> ImageLimits:
    """Take the limits out of a spec."""
    return ImageLimits(max_image_bytes=spec.max_image_bytes, max_image_pixels=spec.max_image_pixels)

"""Settings of an image processor's config: read one by one, with errors that name them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.images.resize import Resample

# Of CLIP's training images (Radford et al. 2021); the BLIP families share them.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# By their numbers in Pillow, which the configs use.
_INTERPOLATIONS: dict[int, Resample] = {2: "bilinear", 3: "bicubic"}


def check_whole(config: Mapping[str, Any], label: str) -> None:
    """Refuse a processor that leaves out a step that the encoders always take.

    Raises:
        ModelLoadError: names the setting.
    """
    for key in ("do_resize", "do_rescale", "do_normalize"):
        if not config.get(key, True):
            raise ModelLoadError(f"{label}: {key} is false; its images are always resized and normalised")
    factor = config.get("rescale_factor", 1 / 255)
    if not isinstance(factor, float) or not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        raise ModelLoadError(f"{label}: rescale_factor is {factor!r}, only 1/255 is supported")


def interpolation(config: Mapping[str, Any], label: str) -> Resample:
    """Return the interpolation of pixels; bicubic if the config names none.

    Raises:
        ModelLoadError: in another way than the two that are supported.
    """
    number = config.get("resample", 3)
    if number not in _INTERPOLATIONS:
        known = ", ".join(f"{key} ({name})" for key, name in _INTERPOLATIONS.items())
        raise ModelLoadError(f"{label}: resample is {number!r}, only {known} are supported")
    return _INTERPOLATIONS[number]


def sides(size: object, name: str, label: str) -> int:
    """Read the side of a square: a number, or {'height': N, 'width': N}.

    Raises:
        ModelLoadError: it is something else.
    """
    given = {size.get("height"), size.get("width")} if isinstance(size, Mapping) else {size}
    side = given.pop()
    if given or not isinstance(side, int) or side < 1:
        raise ModelLoadError(f"{label}: {name} is {size!r}, wanted a number or {{'height': N, 'width': N}}, a square")
    return side


def colours(config: Mapping[str, Any], name: str, usual: Sequence[float], label: str) -> Sequence[float]:
    """Read a number per channel.

    Raises:
        ModelLoadError: there are not three.
    """
    values = config.get(name, usual)
    if not isinstance(values, Sequence) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise ModelLoadError(f"{label}: {name} is {values!r}, wanted three numbers")
    return values

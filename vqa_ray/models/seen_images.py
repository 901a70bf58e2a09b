"""What a model sees of its images: their size, tiles and tokens. Measured with its processor, without its weights."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from vqa_ray.errors import RequestError, RowError, one_line
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.lazy_class import LazyClass

logger = logging.getLogger(__name__)

# A function, which imports torch.
_LOAD_PROCESSOR = LazyClass("chat.base", "load_processor")
_FAILURES = (RequestError, RowError, OSError, RuntimeError, TypeError, ValueError, LookupError, AttributeError)
# Files of which a model sees so much less that a user should know: a quarter of their area, half of each side.
_LITTLE = 0.25


def describe_seen(model: Checkpoint, images: Mapping[tuple[tuple[int, int], tuple[int, int]], int]) -> dict[str, Any]:
    """Describe the images of a run as a model sees them, for the manifest.

    Args:
        model: the model.
        images: ((height, width) that it gets, (height, width) of the file) → number of images.

    Returns:
        `family`, `images`; `seen` and `file`: the least, the median and the largest [height, width] by area; `tokens`
        and `tiles` of these three, null where the family or its endpoint counts none; `much_reduced`: images seen at
        less than a quarter of their area.
    """
    seen: Counter[tuple[int, int]] = Counter()
    file: Counter[tuple[int, int]] = Counter()
    reduced = 0
    for (size, source), number in images.items():
        seen[size] += number
        file[source] += number
        reduced += number * (_area(size) < _LITTLE * _area(source))
    three = _three(seen)
    measured = _measured(model, [tuple(size) for size in three.values()])
    return {
        "family": model.family_name,
        "images": sum(images.values()),
        "seen": {name: measured[tuple(size)][0] for name, size in three.items()},
        "tokens": {name: measured[tuple(size)][1] for name, size in three.items()},
        "tiles": {name: measured[tuple(size)][2] for name, size in three.items()},
        "file": _three(file),
        "much_reduced": reduced,
    }


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _three(sizes: Counter[tuple[int, int]]) -> dict[str, list[int]]:
    """Return the least, median and largest size by area."""
    ordered = sorted(sizes, key=_area)
    passed = np.cumsum([sizes[size] for size in ordered])
    middle = ordered[int(np.searchsorted(passed, passed[-1] / 2))]
    return {"min": list(ordered[0]), "median": list(middle), "max": list(ordered[-1])}


def _measured(model: Checkpoint, sizes: list[Any]) -> dict[Any, tuple[list[int], int | None, int | None]]:
    """Map sizes to (size behind the processor, tokens, tiles)."""
    if model.family.is_chat and model.path is not None:
        try:
            return _of_processor(model, sizes)
        except _FAILURES as error:
            # The rows are written; a run does not end over a report.
            logger.info("%s: the tokens of its images cannot be counted: %s", model.label, one_line(error))
            return {size: (list(size), None, None) for size in sizes}
    side = _patch_side(model.config)
    return {size: (list(size), side and (size[0] // side) * (size[1] // side), side and 1) for size in sizes}


def _of_processor(model: Checkpoint, sizes: list[Any]) -> dict[Any, tuple[list[int], int | None, int | None]]:
    _, processor = _LOAD_PROCESSOR.load()(model)
    found = {}
    for size in sizes:
        about = processor.about(np.zeros((*size, 3), np.uint8))
        ids = about.tokens(processor.prompt("a?"))
        tokens = ids.count(processor.image_token_id) or len(ids) - len(processor.text_ids(processor.prompt("a?")))
        found[size] = (list(about.size), tokens, _tiles(about.tensors))
    return found


def _patch_side(config: Mapping[str, Any]) -> int | None:
    """Return the side in pixels of the patches that a vision transformer makes tokens of."""
    vision = config.get("vision_config") or config
    side = vision.get("patch_size")
    return side if isinstance(side, int) and side > 0 else None


def _tiles(tensors: Mapping[str, Any]) -> int | None:
    """Count the pictures that a processor has cut an image into."""
    pixels = tensors.get("pixel_values")
    if pixels is None or "image_grid_thw" in tensors:
        return 1
    return int(np.prod(pixels.shape[:-3])) if pixels.ndim > 3 else 1

"""Boxes that vision-language models write into their answers: text → boxes in 0..1 of the image.

The notations that are read:

- Qwen-VL and Qwen2-VL, corners in thousandths of the image: `<ref>a dog</ref><box>(10,20),(500,900)</box>`, or with the
  later tokens `<|object_ref_start|>…<|object_ref_end|><|box_start|>(10,20),(500,900)<|box_end|>`.
- Qwen2.5-VL, JSON in pixels of the image as the model saw it: `[{"bbox_2d": [x0, y0, x1, y1], "label": "a dog"}]`,
  often in a Markdown fence and often cut short. Qwen3-VL writes the same in thousandths.
- KOSMOS-2, corners as cells of a 32 × 32 grid:
  `<phrase>a dog</phrase><object><patch_index_0044><patch_index_0863></object>`.
- Florence-2, corners or outlines in thousandths: `a dog<loc_10><loc_20><loc_500><loc_900>`; see `location_boxes`.

What is malformed is left out; no text makes these functions raise.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from vqa_ray.types import Box

THOUSANDTHS = 1000.0
PATCHES_PER_SIDE = 32

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_CORNER = rf"\({_NUMBER},{_NUMBER}\)"
_TAGGED = re.compile(
    r"(?:<ref>|<\|object_ref_start\|>)(?P<label>[^<]*)(?:</ref>|<\|object_ref_end\|>)"
    rf"|(?:<box>|<\|box_start\|>)\s*{_CORNER}\s*,?\s*{_CORNER}\s*(?:</box>|<\|box_end\|>)"
)
_OBJECT = re.compile(r'\{[^{}]*"bbox_2d"[^{}]*\}')
_OBJECTS = re.compile(r"(?:<phrase>(?P<label>[^<]*)</phrase>)?<object>(?P<places>.*?)</object>", re.DOTALL)
_PLACES = re.compile(r"<patch_index_(\d{4})><patch_index_(\d{4})>")
_LOCATED = re.compile(r"(?P<label>[^<]*)(?P<places>(?:<loc_\d+>|</?poly>|<sep>){4,})")
_LOCATION = re.compile(r"<loc_(\d+)>")

LocationForm = Literal["boxes", "quadrilaterals", "polygons"]
# Numbers of a place: two corners, or four.
_NUMBERS: dict[LocationForm, int] = {"boxes": 4, "quadrilaterals": 8}


def find_boxes(text: str, height: float, width: float) -> tuple[Box, ...]:
    """Find the boxes of an answer, in whichever notation it holds.

    Args:
        text: the answer with its markup tokens.
        height: what JSON coordinates count to: pixels of the image as the model saw it, or `THOUSANDTHS`.
        width: what JSON coordinates count to: pixels of the image as the model saw it, or `THOUSANDTHS`.
    """
    return (*tagged_boxes(text), *json_boxes(text, height, width), *patch_boxes(text))


def tagged_boxes(text: str) -> tuple[Box, ...]:
    """Boxes in the notation of Qwen-VL; a label holds for all boxes up to the next."""
    found: list[Box | None] = []
    label = ""
    for match in _TAGGED.finditer(text):
        if match["label"] is not None:
            label = match["label"]
        else:
            corners = [float(value) for value in match.groups()[1:]]
            found.append(_box(label, corners, THOUSANDTHS, THOUSANDTHS))
    return tuple(box for box in found if box is not None)


def json_boxes(text: str, height: float, width: float) -> tuple[Box, ...]:
    """Boxes in the notation of Qwen2.5-VL.

    Args:
        text: the answer; the objects that are whole count, whatever surrounds them.
        height: what the coordinates count to.
        width: what the coordinates count to.
    """
    found = []
    for match in _OBJECT.finditer(text):
        try:
            entry = json.loads(match[0])
        except (ValueError, RecursionError):
            continue
        corners = entry.get("bbox_2d")
        if isinstance(corners, list) and len(corners) == 4 and all(map(_is_number, corners)):
            label = entry.get("label", "")
            found.append(_box(label if isinstance(label, str) else str(label), corners, height, width))
    return tuple(box for box in found if box is not None)


def patch_boxes(text: str) -> tuple[Box, ...]:
    """Boxes in the notation of KOSMOS-2: the centres of two cells, as its own post-processing takes them."""
    found = [
        _patch_box(match["label"] or "", int(first), int(last))
        for match in _OBJECTS.finditer(text)
        for first, last in _PLACES.findall(match["places"])
    ]
    return tuple(box for box in found if box is not None)


def location_boxes(text: str, form: LocationForm) -> tuple[Box, ...]:
    """Boxes in the notation of Florence-2: around the middles of the thousandths that it names, as its own processor.

    Args:
        text: the answer; one label holds for all places behind it.
        form: how the task points at places. Of what is not upright, the box is the smallest around it; polygons that
            outline one thing have one box.
    """
    found: list[Box | None] = []
    for match in _LOCATED.finditer(text):
        if form == "polygons" or "<poly>" in match["places"]:
            places = [_whole_points(outline) for outline in match["places"].split("</poly>")]
        else:
            numbers, count = _thousandths(match["places"]), _NUMBERS[form]
            places = [numbers[start : start + count] for start in range(0, len(numbers) - count + 1, count)]
        found += [_around(match["label"], place) for place in places if place]
    return tuple(box for box in found if box is not None)


def _whole_points(outline: str) -> list[float]:
    parts = [_thousandths(part) for part in outline.split("<sep>")]
    return [value for part in parts for value in part[: len(part) // 2 * 2]]


def _thousandths(text: str) -> list[float]:
    return [int(number) + 0.5 for number in _LOCATION.findall(text)]


def _around(label: str, points: Sequence[float]) -> Box | None:
    across, down = points[0::2], points[1::2]
    return _box(label, [min(across), min(down), max(across), max(down)], THOUSANDTHS, THOUSANDTHS)


def _patch_box(label: str, first: int, last: int) -> Box | None:
    cells = PATCHES_PER_SIDE**2
    if first >= cells or last >= cells:
        return None
    (upper, left), (lower, right) = divmod(first, PATCHES_PER_SIDE), divmod(last, PATCHES_PER_SIDE)
    if left == right or upper == lower:
        # A single row or column: from edge to edge of its cells, or the box would be empty.
        left, right = min(left, right), max(left, right)
        upper, lower = min(upper, lower), max(upper, lower)
        corners = [float(left), float(upper), right + 1.0, lower + 1.0]
    else:
        corners = [left + 0.5, upper + 0.5, right + 0.5, lower + 0.5]
    return _box(label, corners, PATCHES_PER_SIDE, PATCHES_PER_SIDE)


def _box(label: str, corners: list[float], height: float, width: float) -> Box | None:
    """Corners in any order → a box inside the image; None where nothing of it is inside."""
    scaled = list(_scaled(corners, height, width))
    if not all(map(math.isfinite, scaled)):
        return None
    (x0, x1), (y0, y1) = sorted(scaled[0::2]), sorted(scaled[1::2])
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in (x0, y0, x1, y1))
    return Box(" ".join(label.split()), x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _scaled(corners: list[float], height: float, width: float) -> Iterator[float]:
    for value, extent in zip(corners, (width, height) * 2, strict=True):
        try:
            yield float(value) / extent
        except (OverflowError, ZeroDivisionError):
            yield math.nan


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

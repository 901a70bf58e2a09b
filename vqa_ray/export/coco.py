"""Rows as a COCO file with `images`, `categories` and `annotations`, streamed.

A tag or an answer is a category; its annotation has the box that the model gave, else the whole image. Captions without
boxes are annotations with a `caption`, as in COCO's own caption files. `row_id` is text: JavaScript would round it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from vqa_ray.errors import RequestError
from vqa_ray.export.image_sizes import ImageSizes, Size
from vqa_ray.export.labels import Label, Row, labels_of

_CAPTION = "caption"


def write_coco(batches: Iterable[Sequence[Row]], file: Path, sizes: ImageSizes, description: str) -> str:
    """Write a COCO file; memory grows with the number of distinct images and labels only.

    Returns:
        A summary with counts.

    Raises:
        RequestError: no image can be read and no row has boxes, so no annotation has a position.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as annotations, file.open("w", encoding="utf-8") as opened:
        opened.write('{"info": ' + json.dumps({"description": description}) + ', "images": [')
        coco = _Coco(_Items(opened), _Items(annotations))
        for rows in batches:
            known = sizes.of({uri for row in rows if (uri := _new(row, coco))})
            for row in rows:
                coco.add(row, known)
        if coco.left_out and not coco.annotations.count:
            raise RequestError(
                "--to coco: no image of the run can be read (for its size) and no row has boxes, so no annotation has "
                "a position; use --to csv, jsonl or label-studio, or export where the images are"
            )
        opened.write('], "annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, opened)
        opened.write('], "categories": ' + json.dumps(coco.categories(), ensure_ascii=False) + "}\n")
    summary = f"{coco.images.count} images, {coco.annotations.count} annotations, {len(coco.categories())} categories"
    if sizes.unknown:
        summary += f"; {sizes.unknown} images without a size, which could not be read"
    return summary + (f"; {coco.left_out} labels of these left out: no box" if coco.left_out else "")


class _Items:
    """A JSON list with one element per line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.count = 0

    def add(self, item: Mapping[str, Any]) -> int:
        """Write an element and return its number, from 1."""
        self._file.write(
            (",\n" if self.count else "\n") + json.dumps({"id": self.count + 1, **item}, ensure_ascii=False)
        )
        self.count += 1
        return self.count


class _Coco:
    def __init__(self, images: _Items, annotations: _Items) -> None:
        self.images, self.annotations = images, annotations
        self.left_out = 0
        self._categories: dict[tuple[str, str], int] = {}
        self._known: dict[str, tuple[int, Size | None]] = {}

    def is_known(self, name: str) -> bool:
        return name in self._known

    def add(self, row: Row, sizes: Mapping[str, Size]) -> None:
        name = _name(row)
        if name not in self._known:
            size = sizes.get(name)
            dimensions = {} if size is None else {"width": size[0], "height": size[1]}
            number = self.images.add({"file_name": name, "image_id": row.get("image_id"), **dimensions})
            self._known[name] = number, size
        number, size = self._known[name]
        for label in labels_of(row):
            self._annotate(label, number, size, row["row_id"])

    def _annotate(self, label: Label, image: int, size: Size | None, row_id: int) -> None:
        score = {} if label.score is None else {"score": label.score}
        common = {"image_id": image, "row_id": str(row_id), **score}
        if label.group == _CAPTION and label.box is None:
            self.annotations.add({**common, "caption": label.name})
            return
        left, upper, right, lower = label.box or (0, 0, *(size or (0, 0)))
        if label.box is None and size is None:
            self.left_out += 1
            return
        width, height = right - left, lower - upper
        category = self._categories.setdefault((label.group, label.name), len(self._categories) + 1)
        box = {"bbox": [left, upper, width, height], "area": width * height, "iscrowd": 0, "segmentation": []}
        self.annotations.add({**common, "category_id": category, **box})

    def categories(self) -> list[dict[str, Any]]:
        """Return the `categories`; a name that occurs in two groups is two categories."""
        times = Counter(name for _, name in self._categories)
        return [
            {"id": number, "name": name if times[name] == 1 else f"{group}:{name}", "supercategory": group}
            for (group, name), number in self._categories.items()
        ]


def _name(row: Row) -> str:
    return str(row.get("image_uri") or row.get("image_id") or row["row_id"])


def _new(row: Row, coco: _Coco) -> str | None:
    """Return the URI of the image of a row, if it is not written yet."""
    uri = row.get("image_uri")
    return None if uri is None or coco.is_known(uri) else str(uri)

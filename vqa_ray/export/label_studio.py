"""Rows as tasks of Label Studio with predictions: a JSON list with a task per row, streamed.

The labelling configuration needs `<Image name="image" value="$image"/>`, and for the predictions, with
`toName="image"`: Choices named after each attribute for tags, TextArea named `answer` or `caption`, and RectangleLabels
named `boxes`. `row_id` and `source_key` are text: JavaScript would round them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vqa_ray.export.image_sizes import ImageSizes, Size
from vqa_ray.export.labels import Label, Row, labels_of


def write_tasks(batches: Iterable[Sequence[Row]], file: Path, sizes: ImageSizes, model: str) -> str:
    """Write the tasks.

    Args:
        batches: answered rows.
        file: to write.
        sizes: of the images, for boxes.
        model: the `model_version` of the predictions.

    Returns:
        A summary with counts.
    """
    tasks = left_out = 0
    with file.open("w", encoding="utf-8") as opened:
        opened.write("[")
        for rows in batches:
            labels = [labels_of(row) for row in rows]
            boxed = {
                row["image_uri"] for row, each in zip(rows, labels, strict=True) if any(label.box for label in each)
            }
            known = sizes.of(uri for uri in boxed if uri)
            for row, each in zip(rows, labels, strict=True):
                size = known.get(row.get("image_uri") or "")
                usable = [label for label in each if label.box is None or size is not None]
                left_out += len(each) - len(usable)
                opened.write(
                    (",\n" if tasks else "\n") + json.dumps(_task(row, usable, size, model), ensure_ascii=False)
                )
                tasks += 1
        opened.write("\n]\n")
    return f"{tasks} tasks" + (f"; {left_out} boxes left out: their images could not be read" if left_out else "")


def _task(row: Row, labels: Sequence[Label], size: Size | None, model: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        name: str(row[name]) for name in ("image_id", "row_id", "source_key", "question") if row.get(name) is not None
    }
    if row.get("results") is not None:
        data["questions"] = [each["question"] for each in row["results"]]
    if row.get("tag_scores"):
        # Those without a value have no result below.
        data["attributes"] = list(dict.fromkeys(each["attribute"] for each in row["tag_scores"]))
    prediction: dict[str, Any] = {"model_version": model, "result": _results(row, labels, size)}
    if (score := _least(labels)) is not None:
        prediction["score"] = score
    return {"data": {"image": row.get("image_uri") or row.get("image_id"), **data}, "predictions": [prediction]}


def _results(row: Row, labels: Sequence[Label], size: Size | None) -> list[dict[str, Any]]:
    if row.get("tags") is not None:
        groups: dict[str, list[Label]] = {}
        for label in labels:
            groups.setdefault(label.group, []).append(label)
        return [
            _result(group, "choices", {"choices": [label.name for label in mine]}, _least(mine))
            for group, mine in groups.items()
        ]
    results = []
    for label in labels:
        if label.box is not None and size is not None:
            results.append(_rectangle(label, label.box, size))
        else:
            name = "caption" if label.group == "caption" else "answer"
            results.append(_result(name, "textarea", {"text": [label.name]}, label.score))
    return results


def _rectangle(label: Label, box: tuple[float, float, float, float], size: Size) -> dict[str, Any]:
    (left, upper, right, lower), (width, height) = box, size
    percent = {
        "x": 100 * left / width,
        "y": 100 * upper / height,
        "width": 100 * (right - left) / width,
        "height": 100 * (lower - upper) / height,
    }
    value = {**percent, "rotation": 0, "rectanglelabels": [label.name]}
    return {**_result("boxes", "rectanglelabels", value), "original_width": width, "original_height": height}


def _result(name: str, type_name: str, value: dict[str, Any], score: float | None = None) -> dict[str, Any]:
    result = {"from_name": name, "to_name": "image", "type": type_name, "value": value}
    return result if score is None else {**result, "score": score}


def _least(labels: Sequence[Label]) -> float | None:
    return min((label.score for label in labels if label.score is not None), default=None)

"""Rows as a directory for FiftyOne: a `FiftyOneImageClassificationDataset` with a data manifest.

fo.Dataset.from_dir(DIRECTORY, fo.types.FiftyOneImageClassificationDataset, data_path="data.json")
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from vqa_ray.export.labels import Row, labels_of
from vqa_ray.storage.uri import scheme_of

DATA, LABELS = "data.json", "labels.json"


def write_fiftyone(batches: Iterable[Sequence[Row]], directory: Path) -> str:
    """Write `labels.json` and `data.json` with a sample for each input row; images are not copied.

    Returns:
        A summary with counts.
    """
    samples = without = remote = 0
    with (
        (directory / LABELS).open("w", encoding="utf-8") as labels,
        (directory / DATA).open("w", encoding="utf-8") as data,
    ):
        labels.write('{"labels": {')
        data.write("{")
        for key, same in groupby(chain.from_iterable(batches), itemgetter("source_key")):
            group = list(same)
            uri, question = group[0].get("image_uri"), group[0].get("question_index") or 0
            if not uri:
                without += 1
                continue
            remote += scheme_of(uri) != "file"
            # Questions of a row that are not adjacent become separate samples.
            comma, name = ("," if samples else ""), json.dumps(f"{key}-{question}" if question else str(key))
            labels.write(f"{comma}\n{name}: {json.dumps(_targets(group), ensure_ascii=False)}")
            data.write(f"{comma}\n{name}: {json.dumps(uri.removeprefix('file://'), ensure_ascii=False)}")
            samples += 1
        labels.write("\n}}\n")
        data.write("\n}\n")
    summary = f"{samples} samples" + (f"; {without} input rows left out: they have no image_uri" if without else "")
    return summary + (f"; {remote} images are no local files, which FiftyOne needs" if remote else "")


def _targets(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the labels of a sample; each names its question or attribute."""
    return [
        {
            "label": label.name,
            "confidence": label.score,
            "attributes": {"of": label.group, "row_id": str(row["row_id"]), "source_key": str(row["source_key"])},
        }
        for row in rows
        for label in labels_of(row)
    ]

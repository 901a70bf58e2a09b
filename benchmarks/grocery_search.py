"""From the iconic image of a product to photos of it: the Grocery Store data set, where there is one."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import encoders
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.index.search.query import decode_image, query_of
from vqa_ray.index.search.searcher import Searcher
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions

_RECALL_AT = (1, 5, 10)
_SET = "grocery"


def measure(settings: Settings) -> Measured:
    """recall@1, 5 and 10 of searching the validation photos by the iconic image of each class."""
    root = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data")) / _SET
    if not (root / "classes.csv").is_file():
        return Measured([], [f"VQA_RAY_TEST_DATA names no directory with the data set {_SET!r}: nothing to measure."])
    encoder = encoders.reference(settings.quick)
    photos, iconic = dict(_photos(root)), dict(_iconic(root))
    listed = settings.scratch / "photos.csv"
    with listed.open("w", newline="") as file:
        csv.writer(file).writerows([("image_uri", "class"), *((str(path), name) for path, name in photos.items())])
    index = encoders.build_index(listed, settings.scratch / "index", encoder, keep=["class"])
    found_class = index.rows(["class"])["class"].to_pylist()
    wanted = sorted(set(found_class) & set(iconic))
    model, transform, searcher = (
        ModelOptions(encoder).load_encoder(),
        Checkpoint.open(encoder).transform,
        Searcher(index, hold=True),
    )
    ranks = []
    for name in wanted:
        image = decode_image(iconic[name].read_bytes(), transform, ImageLimits())
        hits = searcher.search(query_of(model, image=image), top_k=max(_RECALL_AT))
        classes = [found_class[position] for position in hits.positions]
        ranks.append(classes.index(name) if name in classes else max(_RECALL_AT))
    return Measured(
        [
            figure(
                f"iconic image → photos of the product ({len(photos):,} photos, {len(wanted)} products): recall@{k}",
                [float(np.mean(np.array(ranks) < k))],
            )
            for k in _RECALL_AT
        ],
        [
            f"Grocery Store data set: the validation photos indexed with {encoder}, searched by the iconic image of "
            "each class that has photos there. recall@k is the share of these searches with a photo of the class among "
            f"the first k. Another encoder: {encoders.VARIABLE}=REFERENCE.",
        ],
    )


def _photos(root: Path) -> Iterator[tuple[Path, str]]:
    """Each validation photo and its class."""
    names = {number: name for number, name, _ in _classes(root)}
    for line in (root / "val.txt").read_text().splitlines():
        path, number, _ = (field.strip() for field in line.split(","))
        yield (root / path).absolute(), names[int(number)]


def _iconic(root: Path) -> Iterator[tuple[str, Path]]:
    """Each class and its iconic image."""
    for _, name, path in _classes(root):
        yield name, root / path.lstrip("/")


def _classes(root: Path) -> Iterator[tuple[int, str, str]]:
    with (root / "classes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield int(row["Class ID (int)"]), row["Class Name (str)"], row["Iconic Image Path (str)"]

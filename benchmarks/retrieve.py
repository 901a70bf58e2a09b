"""Looking for images by an expression of three questions: what asking only what matters saves, and what it changes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from benchmarks import checkpoints
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray import schema
from vqa_ray.catalog.product import Product, sample_product
from vqa_ray.catalog.render import encode, render
from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.types import Image

WHERE = '"is there a dog?" and "is it red?" and not "is it a mug?"'
_PRODUCTS, _SEED, _BATCH = 2_000, 7_000_002, 32


def measure(settings: Settings) -> Measured:
    """Questions and seconds, asking all against asking what is open, on the same products and the same batches."""
    # In float32, so that a score depends on what is asked beside it by rounding alone.
    model = ModelOptions(checkpoints.small_model(settings.quick), dtype="float32")
    transform = Checkpoint.open(model.reference).transform
    products = [sample_product(_SEED, index) for index in range(settings.pick(_PRODUCTS, 96))]
    images = [decode_resized(encode(each, render(each)), ImageLimits(), transform.target_size) for each in products]
    batches = [_table(images[start : start + _BATCH], start) for start in range(0, len(images), _BATCH)]
    predicate = parse(WHERE)
    found, seconds = {}, {}
    for name, ask_all in (("all", True), ("open", False)):
        stage = RetrieveStage(RetrieveConfig(model, predicate, ask_all=ask_all))
        stage(batches[0])  # warms up, and teaches the one that learns
        begun = time.monotonic()
        found[name] = [row for table in batches for row in stage(table).to_pylist()]
        seconds[name] = time.monotonic() - begun
    asked = {
        name: sum(each["score"] is not None for row in rows for each in row["scores"]) for name, rows in found.items()
    }
    matches = {name: [row["row_id"] for row in rows if row["match"]] for name, rows in found.items()}
    apart = [
        abs(ours["score"] - theirs["score"])
        for ours, theirs in zip(found["open"], found["all"], strict=True)
        if theirs["match"]
    ]
    right = {each.index for each in products if _is_wanted(each)}
    hits = len(right & set(matches["open"]))
    return Measured(
        [
            figure(f"{len(products):,} products, three questions each: questions asked", [float(asked["all"])]),
            figure("asked where they can still matter", [float(asked["open"])]),
            figure("questions saved", [asked["all"] / asked["open"]], "×", at_least=1.5),
            figure("matches that both find, of those that either does", [_overlap(matches)], at_least=1.0),
            figure("largest difference between their scores", [max(apart, default=0.0)], at_most=1e-4),
            figure("seconds, all to open", [seconds["all"] / seconds["open"]], "×"),
            figure("precision of the matches", [hits / max(1, len(matches["open"]))]),
            figure("recall of the matches", [hits / max(1, len(right))]),
        ],
        [
            f"`{WHERE}` at threshold 0.5, products of catalogue seed {_SEED} in batches of {_BATCH}, the stage alone, "
            f"{model.reference} in float32; {len(right)} products are what is looked for.",
        ],
    )


def _table(images: Sequence[Image], first: int) -> pa.Table:
    rows = [
        {
            "source_key": first + place,
            "row_id": first + place,
            "image_key": first + place,
            "pixels": np.ascontiguousarray(image).tobytes(),
            "height": image.shape[0],
            "width": image.shape[1],
            "status": schema.STATUS_OK,
        }
        for place, image in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema.DECODED)


def _is_wanted(product: Product) -> bool:
    return product.motif == "dog" and product.colour == "red" and product.category != "mug"


def _overlap(matches: dict[str, list[int]]) -> float:
    ours, theirs = set(matches["open"]), set(matches["all"])
    return len(ours & theirs) / max(1, len(ours | theirs))

"""Taxonomies with conditions and with thousands of choices: what is asked, and what the shortlist leaves out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from benchmarks import checkpoints
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray import schema
from vqa_ray.catalog.captions import with_article
from vqa_ray.catalog.product import CATEGORIES, COLOURS, MOTIFS, PATTERNS, Product, sample_product
from vqa_ray.catalog.render import encode, render
from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.taxonomy.file import load_taxonomy, parse_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy

CONDITIONAL = Path(__file__).parents[1] / "examples" / "taxonomies" / "departments.yaml"
ENCODER = "bundled:catalog-clip"
_PRODUCTS, _SEED, _BATCH, _K = 600, 7_000_004, 32, 32
# Motifs that no product has, for more than 10,000 choices.
_FURTHER = ("bird", "crown", "moon", "rocket", "sun")


def measure(settings: Settings) -> Measured:
    """Questions asked with conditions against all of them, and the recall of a shortlist, on rendered products."""
    # In float32, so that a score depends on what is asked beside it by rounding alone.
    model = ModelOptions(checkpoints.BUNDLED, dtype="float32")
    transform = Checkpoint.open(model.reference).transform
    products = [sample_product(_SEED, index) for index in range(settings.pick(_PRODUCTS, 16))]
    images = [decode_resized(encode(each, render(each)), ImageLimits(), transform.target_size) for each in products]
    batches = [
        _table(products[first : first + _BATCH], images[first : first + _BATCH])
        for first in range(0, len(images), _BATCH)
    ]
    conditional = load_taxonomy(str(CONDITIONAL))
    counted, rows, seconds = _tagged(model, conditional, batches)
    everything, expected, all_seconds = _asked_all(model, conditional, batches)
    same = sum(ours == theirs for ours, theirs in zip(map(_tags(conditional), rows), expected, strict=True))
    leaves = _leaves()
    asked, shortlisted, _ = _tagged(model, _crossings(leaves), batches)
    truth = [leaves[product.category, product.colour, product.pattern, product.motif] for product in products]
    held = [
        name in {each["choice"] for each in row["tag_scores"]} for name, row in zip(truth, shortlisted, strict=True)
    ]
    right = [row["product"] == name for name, row in zip(truth, shortlisted, strict=True)]
    first = [row["product_rank"] == 1 for row in shortlisted]
    return Measured(
        [
            figure(f"{len(products):,} products, all questions of the taxonomy", [float(everything)]),
            figure("questions asked where their conditions hold", [float(counted)]),
            figure("questions saved", [everything / counted], "×", at_least=2.5),
            figure("images with the same tags as by asking all and filtering", [same / len(products)], at_least=1.0),
            figure("seconds, all to conditional", [all_seconds / seconds], "×"),
            figure(f"{len(leaves):,} choices: recall of a shortlist of {_K}", [_share(held)], at_least=0.98),
            figure("choices scored per image", [asked / len(products)], at_most=40.0),
            figure("products whose choice is right in every part", [_share(right)]),
            figure("products whose choice was first in the shortlist", [_share(first)]),
        ],
        [
            f"`examples/taxonomies/departments.yaml` on products of catalogue seed {_SEED} in batches of {_BATCH}, the "
            f"stage alone, {model.reference} in float32.",
            f"The long taxonomy crosses types, colours, patterns and motifs ({len(_FURTHER)} of which no product has). "
            f"{ENCODER} makes its shortlist from the images as the model sees them; each is a question of yes and no. "
            "The model was trained on questions about one part of a product at a time.",
        ],
    )


def _leaves() -> dict[tuple[str, str, str, str | None], str]:
    """Name every crossing of a type, a colour, a pattern and a motif."""
    return {
        (category, colour, pattern, motif): f"{pattern} {colour} {category}"
        + (f" with {with_article(motif)}" if motif else "")
        for category in CATEGORIES
        for colour in COLOURS
        for pattern in PATTERNS
        for motif in (None, *MOTIFS, *_FURTHER)
    }


def _crossings(leaves: dict[tuple[str, str, str, str | None], str]) -> Taxonomy:
    attribute = {
        "name": "product",
        "question": "is this a {choice}?",
        "mode": "yes_no",
        "choices": list(leaves.values()),
        "shortlist": {"model": ENCODER, "k": _K},
    }
    return parse_taxonomy(json.dumps({"attributes": [attribute]}), "crossings")


def _tagged(
    model: ModelOptions, taxonomy: Taxonomy, batches: Sequence[pa.Table]
) -> tuple[int, list[dict[str, Any]], float]:
    """Return the choices or questions asked, the rows and the seconds of a stage."""
    stage = TagStage(TagConfig(model, taxonomy))
    count = _counting(stage)
    begun = time.monotonic()
    rows = [row for table in batches for row in stage(table).to_pylist()]
    return count(), rows, time.monotonic() - begun


def _asked_all(
    model: ModelOptions, taxonomy: Taxonomy, batches: Sequence[pa.Table]
) -> tuple[int, list[dict[str, Any]], float]:
    """Ask every question of the taxonomy, and filter."""
    document = yaml.safe_load(CONDITIONAL.read_text())
    for attribute in document["attributes"]:
        attribute.pop("when", None)
    flat = Taxonomy.model_validate(document)
    count, rows, seconds = _tagged(model, flat, batches)
    scores = [
        {
            each.name: [(s["choice"], s["score"]) for s in row["tag_scores"] if s["attribute"] == each.name]
            for each in taxonomy.attributes
        }
        for row in rows
    ]
    return count, [_without_scores(taxonomy, taxonomy.given(each).columns) for each in scores], seconds


def _tags(taxonomy: Taxonomy) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda row: _without_scores(taxonomy, {name: row[name] for name in taxonomy.given({}).columns})


def _without_scores(taxonomy: Taxonomy, columns: Any) -> dict[str, Any]:
    scores = {each.columns[1] for each in taxonomy.attributes}
    return {name: value for name, value in columns.items() if name not in scores}


def _counting(stage: TagStage) -> Callable[[], int]:
    """Count the questions that reach the models of a stage."""
    asked, score = [0], stage._models.score

    def counted(name: Any, images: Any, sizes: Any, questions: Sequence[Sequence[Any]]) -> Any:
        asked[0] += sum(map(len, questions))
        return score(name, images, sizes, questions)

    stage._models.score = counted  # type: ignore[method-assign]
    return lambda: asked[0]


def _table(products: Sequence[Product], images: Sequence[Any]) -> pa.Table:
    rows = [
        {
            "source_key": product.index,
            "row_id": product.index,
            "image_key": product.index,
            "pixels": np.ascontiguousarray(image).tobytes(),
            "height": image.shape[0],
            "width": image.shape[1],
            "source_height": product.height,
            "source_width": product.width,
            "status": schema.STATUS_OK,
        }
        for product, image in zip(products, images, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema.DECODED)


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)

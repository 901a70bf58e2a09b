"""The demo's input: Parquet shards of rendered products with questions and right answers, and a few damaged rows."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from vqa_ray.catalog.product import Product, sample_product
from vqa_ray.catalog.questions import NO, YES, CatalogQuestion, ask
from vqa_ray.catalog.render import encode, render
from vqa_ray.runs.part_files import read_columns
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.uri import join

DOG_QUESTION = "is there a dog?"
DOG_KIND = "is_dog"
ROWS_PER_SHARD = 150
# The target of the demo's search, and its frequency; by chance it would occur once in 2,200 products.
WANTED: Mapping[str, Any] = {"category": "mug", "colour": "red", "motif": "dog"}
_WANTED_EVERY, _WANTED_FIRST = 100, 5
DAMAGED_FILE = "products-damaged.parquet"

SCHEMA = pa.schema(
    [
        pa.field("row_id", pa.int64(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("image", pa.binary()),
        pa.field("questions", pa.list_(pa.string())),
        # The right answer and the reporting group of each question.
        pa.field("right_answers", pa.list_(pa.string())),
        pa.field("kinds", pa.list_(pa.string())),
        pa.field("category", pa.string()),
        pa.field("colour", pa.string()),
        pa.field("pattern", pa.string()),
        pa.field("motif", pa.string()),
    ]
)
# Two open and two closed kinds of question for each product, alternating.
_KINDS = (("category", "colour", "is_pattern", "is_motif"), ("pattern", "motif", "is_category", "is_colour"))
_QUESTION_STREAM = 2
# A GIF of 35 bytes whose header claims 65,535 × 65,535 pixels.
_SIDE = b"\xff\xff"
_GIF_OF_4_GIGAPIXELS = (
    b"GIF89a" + 2 * _SIDE + b"\x80\x00\x00" + bytes(6) + b"," + bytes(4) + 2 * _SIDE + b"\x00" + b"\x02\x02L\x01\x00;"
)


def demo_product(seed: int, index: int) -> Product:
    """Product number `index` of the catalogue `seed`; one in a hundred becomes the target of the search."""
    product = sample_product(seed, index)
    return replace(product, **WANTED) if index % _WANTED_EVERY == _WANTED_FIRST else product


def is_wanted(product: Mapping[str, Any]) -> bool:
    """Whether a row of SCHEMA matches the query of the demo's search."""
    return all(product[name] == value for name, value in WANTED.items())


def questions_of(product: Product) -> list[CatalogQuestion]:
    """Choose the questions of a product: whether there is a dog, and four more; no question twice."""
    rng = np.random.default_rng([product.seed, product.index, _QUESTION_STREAM])
    dog = CatalogQuestion(DOG_QUESTION, YES if product.motif == "dog" else NO, DOG_KIND)
    questions = {DOG_QUESTION: dog}
    for kind in _KINDS[product.index % len(_KINDS)]:
        question = ask(product, kind, rng)
        questions.setdefault(question.question, question)
    return list(questions.values())


def product_row(product: Product) -> dict[str, Any]:
    """One row of SCHEMA."""
    questions = questions_of(product)
    return {
        "row_id": product.index,
        "image_id": product.image_id,
        "image": encode(product, render(product)),
        "questions": [each.question for each in questions],
        "right_answers": [each.answer for each in questions],
        "kinds": [each.kind for each in questions],
        "category": product.category,
        "colour": product.colour,
        "pattern": product.pattern,
        "motif": product.motif,
    }


def damaged_rows(first_row_id: int) -> list[dict[str, Any]]:
    """Damaged rows, as real catalogues have them; each becomes an error row and leaves its neighbours intact."""
    photo = Image.effect_noise((64, 48), 40).convert("RGB")
    whole = _encoded(photo, "JPEG")
    images = {
        "damaged-half-a-jpeg": whole[: len(whole) // 2],
        "damaged-text-called-jpg": b"<html><body>404 Not Found</body></html>",
        "damaged-no-image": None,
        "damaged-empty-file": b"",
        "damaged-three-pixels-high": _encoded(Image.new("RGB", (3000, 3), (200, 120, 40)), "PNG"),
        "damaged-gif-of-4-gigapixels": _GIF_OF_4_GIGAPIXELS,
    }
    return [
        {"row_id": first_row_id + number, "image_id": name, "image": image, "questions": [DOG_QUESTION]}
        for number, (name, image) in enumerate(images.items())
    ]


def _encoded(image: Image.Image, format: str) -> bytes:
    data = io.BytesIO()
    image.save(data, format)
    return data.getvalue()


def shard_names(count: int) -> list[str]:
    """File names of the shards of `count` products; the last one holds the damaged rows."""
    return [*(f"products-{number:05d}.parquet" for number in range(-(-count // ROWS_PER_SHARD))), DAMAGED_FILE]


def write_shards(count: int, seed: int, output_uri: str) -> list[str]:
    """Render products 0 to `count` - 1 of the catalogue `seed` and write them and the damaged rows.

    Memory holds one shard at a time.

    Returns:
        The URIs of the shards.
    """
    uris = [join(output_uri, name) for name in shard_names(count)]
    for number, uri in enumerate(uris[:-1]):
        indices = range(number * ROWS_PER_SHARD, min(count, (number + 1) * ROWS_PER_SHARD))
        _write(uri, [product_row(demo_product(seed, index)) for index in indices])
    _write(uris[-1], damaged_rows(count))
    return uris


def write_truth(shards: Sequence[str], uri: str) -> None:
    """Write the right answer to every question of the products, a row each, with its reporting group."""
    names = ("questions", "right_answers", "kinds")
    rows = [
        {"image_id": product["image_id"], "question": question, "answer": answer, "kind": kind}
        for product in read_rows(shards, ["image_id", *names])
        if product["right_answers"] is not None
        for question, answer, kind in zip(*(product[name] for name in names), strict=True)
    ]
    write_table_atomic(uri, pa.Table.from_pylist(rows))


def _write(uri: str, rows: list[dict[str, Any]]) -> None:
    write_table_atomic(uri, pa.Table.from_pylist(rows, SCHEMA))


def read_rows(uris: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Read the rows of Parquet files as mappings, a file at a time."""
    for uri in uris:
        yield from read_columns(uri, columns).to_pylist()

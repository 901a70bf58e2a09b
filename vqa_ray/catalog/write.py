"""Write a catalogue of rendered products in the input formats of the jobs, shard by shard."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vqa_ray.catalog.captions import MOST_CAPTIONS
from vqa_ray.catalog.product import Product, sample_product
from vqa_ray.catalog.questions import ANSWERS
from vqa_ray.catalog.render import encode, render
from vqa_ray.catalog.rows import row_fields, rows_of
from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage.atomic import create, write_bytes_atomic, write_table_atomic
from vqa_ray.storage.filesystem import exists, list_files, read_bytes
from vqa_ray.storage.foreign_files import refuse_foreign_files
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import join

FORMATS = ("parquet", "webdataset", "jsonl", "images")
# The request that made the catalogue. Readers skip names with an underscore.
REQUEST_FILE = "_catalog.json"
# Every answer a catalogue can have, one per line, as `finetune --vocabulary` takes it.
ANSWERS_FILE = "_answers.txt"
# Recorded only where requested.
_OPTIONAL = ("captions",)
_LARGEST_SEED = 2**63 - 1
_LARGEST_COUNT = 2**31
_UPLOADS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A product, its encoded image and the rows about it."""

    product: Product
    image: bytes
    rows: list[dict[str, Any]]

    @property
    def file_name(self) -> str:
        return self.product.image_id + self.product.extension


@dataclass(frozen=True, slots=True)
class _TextCounts:
    """The number of questions (rows) and captions of a product."""

    questions: int
    captions: int


def write_catalogue(
    count: int,
    seed: int,
    output_uri: str,
    format: str,
    rows_per_shard: int = 200,
    *,
    questions: int = 0,
    captions: int = 0,
) -> list[str]:
    """Render products 0 to `count` - 1 of the catalogue `seed` and write them under `output_uri`.

    Memory holds one shard at a time. Repeating a request writes the same files.

    - parquet: `products-*.parquet` with the columns `image` (encoded bytes) and those of `rows.row_fields`.
    - webdataset: `products-*.tar`, a `.jpg` or `.png` and a `.json` per key.
    - jsonl: `products-*.jsonl` with `image_uri` relative to the file; the images are in `images/`.
    - images: image files alone; the truth is in `_truth-*.jsonl`, which readers of images leave out, under the
      `image_id` that they give: the file's name.

    With questions there is also `_answers.txt`, the vocabulary.

    Args:
        count: how many products.
        seed: which catalogue; another seed shares no product with this one.
        output_uri: an empty directory or prefix, or one with this catalogue.
        format: one of `FORMATS`.
        rows_per_shard: products in one shard.
        questions: 0 for one row of truth per product, else this many rows per product, each a question with its answer.
        captions: 0 for none; 1 for a column `caption` with a description of the product; more for a list of so many.

    Returns:
        The URIs of the files with the rows, one per shard.

    Raises:
        RequestError: an argument is out of range, or the output holds other files or cannot be written.
    """
    request = {
        "count": count,
        "seed": seed,
        "format": format,
        "rows_per_shard": rows_per_shard,
        "questions": questions,
        # Omitted without captions, so that older catalogues compare equal.
        **({"captions": captions} if captions else {}),
    }
    _check(format, {**request, "captions": captions})
    counts = _TextCounts(questions, captions)
    _claim(output_uri, request)
    if questions:
        write_bytes_atomic(join(output_uri, ANSWERS_FILE), "".join(f"{answer}\n" for answer in ANSWERS).encode())
    shards = -(-count // rows_per_shard)
    digits = max(5, len(str(shards - 1)))
    write = _WRITERS[format]
    written = []
    for shard in range(shards):
        indices = range(shard * rows_per_shard, min(count, (shard + 1) * rows_per_shard))
        # No variable holds the shard, so that it is freed before the next one is drawn.
        written.append(write(output_uri, f"{shard:0{digits}d}", _draw(seed, indices, counts), counts))
    return written


def _check(format: str, request: Mapping[str, object]) -> None:
    if format not in FORMATS:
        raise RequestError(f"--format {one_line(format, 60)}: unknown format; wanted one of {', '.join(FORMATS)}")
    ranges = (
        ("count", 1, _LARGEST_COUNT),
        ("seed", 0, _LARGEST_SEED),
        ("rows_per_shard", 1, 100_000),
        ("questions", 0, 1000),
        ("captions", 0, MOST_CAPTIONS),
    )
    for name, least, most in ranges:
        value = request[name]
        if not (isinstance(value, int) and least <= value <= most):
            raise RequestError(f"--{name.replace('_', '-')} {value}: allowed is {least} to {most}")
    if request["questions"] and format == "images":
        raise RequestError("--questions: image files cannot carry questions; use --format parquet, webdataset or jsonl")


def _claim(output_uri: str, request: dict[str, object]) -> None:
    """Record the request at the output, unless the output holds something else."""
    note = join(output_uri, REQUEST_FILE)
    try:
        if exists(note):
            noted = json.loads(read_bytes(note))
            there = noted if isinstance(noted, dict) else {}
            names = dict.fromkeys([*request, *(name for name in _OPTIONAL if name in there)])
            different = [
                f"{name} {there.get(name)} → {request.get(name)}"
                for name in names
                if there.get(name) != request.get(name)
            ]
            if different:
                raise RequestError(
                    f"{output_uri}: holds another catalogue ({', '.join(different)}); use an empty directory"
                )
            return
        if exists(output_uri):
            refuse_foreign_files(output_uri, [entry.uri for entry in list_files(output_uri)], "a catalogue")
        if not create(note, json.dumps(request).encode()):
            # Another process was faster; equal catalogues are equal files.
            _claim(output_uri, request)
    except json.JSONDecodeError as error:
        raise RequestError(f"{note}: is not JSON: {one_line(error)}") from error
    except store_failures() as error:
        raise RequestError(f"{output_uri}: cannot be written: {store_reason(error)}") from error


def _draw(seed: int, indices: range, counts: _TextCounts) -> list[_Drawn]:
    products = (sample_product(seed, index) for index in indices)
    return [
        _Drawn(product, encode(product, render(product)), rows_of(product, counts.questions, counts.captions))
        for product in products
    ]


def _write_parquet(output_uri: str, number: str, drawn: list[_Drawn], counts: _TextCounts) -> str:
    schema = pa.schema([pa.field("image", pa.binary()), *row_fields(counts.questions, counts.captions)])
    rows = [{"image": one.image, **row} for one in drawn for row in one.rows]
    # Encoded images are compressed already.
    compression = {name: "none" if name == "image" else "zstd" for name in _leaves(schema)}
    uri = join(output_uri, f"products-{number}.parquet")
    write_table_atomic(uri, pa.Table.from_pylist(rows, schema=schema), compression)
    return uri


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the Parquet paths of the columns."""
    return [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema]


def _write_webdataset(output_uri: str, number: str, drawn: list[_Drawn], counts: _TextCounts) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for one in drawn:
            for row in one.rows:
                key = row.get("question_id", one.product.image_id)
                _add(tar, key + one.product.extension, one.image)
                _add(tar, f"{key}.json", _json(row))
    uri = join(output_uri, f"products-{number}.tar")
    write_bytes_atomic(uri, buffer.getvalue())
    return uri


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _write_jsonl(output_uri: str, number: str, drawn: list[_Drawn], counts: _TextCounts) -> str:
    _write_images(join(output_uri, "images"), drawn)
    rows = ({"image_uri": f"images/{one.file_name}", **row} for one in drawn for row in one.rows)
    return _write_lines(join(output_uri, f"products-{number}.jsonl"), rows)


def _write_image_files(output_uri: str, number: str, drawn: list[_Drawn], counts: _TextCounts) -> str:
    _write_images(output_uri, drawn)
    # A reader of image files identifies an image by its name and numbers rows in its own way.
    rows = (
        {"image_uri": one.file_name, **row, "image_id": one.file_name}
        for one in drawn
        for row in map(_unnumbered, one.rows)
    )
    return _write_lines(join(output_uri, f"_truth-{number}.jsonl"), rows)


def _unnumbered(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its row_id."""
    return {name: value for name, value in row.items() if name != "row_id"}


def _write_images(output_uri: str, drawn: list[_Drawn]) -> None:
    uris = [join(output_uri, one.file_name) for one in drawn]
    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
        for _ in pool.map(write_bytes_atomic, uris, (one.image for one in drawn)):
            pass


def _write_lines(uri: str, rows: Iterable[dict[str, Any]]) -> str:
    write_bytes_atomic(uri, b"".join(_json(row) + b"\n" for row in rows))
    return uri


def _json(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


_WRITERS: dict[str, Callable[[str, str, list[_Drawn], _TextCounts], str]] = {
    "parquet": _write_parquet,
    "webdataset": _write_webdataset,
    "jsonl": _write_jsonl,
    "images": _write_image_files,
}

"""Records of TSV files with images in base64, and of Parquet files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from pyarrow import parquet

from vqa_ray.errors import ErrorCode, RowError, RunError, one_line
from vqa_ray.readers.arrow_rows import rows_per_batch, values_of
from vqa_ray.readers.benchmarks.documents import Found
from vqa_ray.readers.benchmarks.fields import NUMBER, literal
from vqa_ray.readers.damage import DAMAGE, WatchedFile, until_damage, watched, watched_stream
from vqa_ray.readers.formats.csv import delimiter_of, records_of
from vqa_ray.readers.formats.parquet import batches_of
from vqa_ray.readers.source import Shard

# A shorter cell is the index of the row whose image is meant, as no image has so few bytes.
_LEAST_BASE64 = 64


def tsv_records(uri: str, encoding: str | None, *, reads_images: bool) -> Iterator[Found]:
    """Yield the rows of a TSV or CSV file; empty cells are null.

    A cell `image` in base64 becomes a `data:` URI, one that cannot be read an error. One that holds the index of
    another row becomes that row's image, and the index stands in `image_of`.
    """
    shared = _shared_images(uri, encoding) if reads_images else {}
    for found in _tsv(uri, encoding):
        if found.record is None or not (image := found.record.get("image")):
            yield found
            continue
        cells: dict[str, Any] = dict(found.record)
        if len(image) < _LEAST_BASE64 and not image.startswith("["):
            cells |= {"image_of": image, "image": shared.get(image)}
        yield found._replace(record={**cells, "image": _images(image, cells["image"]) if reads_images else None})


def _shared_images(uri: str, encoding: str | None) -> dict[str, str]:
    """Return the images that other rows refer to: index → base64."""
    referred = {
        cell
        for found in _tsv(uri, encoding)
        if found.record and (cell := found.record.get("image")) and len(cell) < _LEAST_BASE64
    }
    if not referred:
        return {}
    rows = (found.record for found in _tsv(uri, encoding) if found.record)
    return {
        row["index"]: row["image"]
        for row in rows
        if row.get("index") in referred and len(row.get("image") or "") >= _LEAST_BASE64
    }


def _images(cell: str, image: str | None) -> list[str] | RowError:
    """Return the images of a row as `data:` URIs or references, or what is wrong with its cell.

    Args:
        cell: as it is written.
        image: the same, or that of the row it refers to; None where there is none.
    """
    if image is None:
        reason = f"image: refers to the row of index {cell!r}, which the file lacks or which has no image"
        return RowError(ErrorCode.IMAGE_MISSING, reason)
    try:
        parts = map(str, literal(image, "image"))
    except RowError as error:
        return error
    return [part if "://" in part or part.startswith("data:") else f"data:;base64,{part}" for part in parts]


def _tsv(uri: str, encoding: str | None) -> Iterator[Found]:
    with watched_stream(uri) as (file, watch):
        yield from _until_damage(_cells(file, uri, encoding), watch)


def _cells(file: BinaryIO, uri: str, encoding: str | None) -> Iterator[Found]:
    records = records_of(file, delimiter_of(uri), encoding)
    header = next(records, None)
    if header is None or header.cells is None:
        raise RunError(f"{uri}: has no header line that can be read")
    for record in records:
        if record.cells is None or record.problem:
            yield Found(None, record.data, f"line {record.number}: {record.problem}")
        else:
            cells = (cell or None for cell in record.cells)
            yield Found(dict(zip(header.cells, cells, strict=True)), record.data)


def tsv_names(uri: str, encoding: str | None) -> tuple[str, ...]:
    """Return the names in the header of a TSV or CSV file; none where it cannot be read."""
    with watched_stream(uri) as (file, _):
        header = next(records_of(file, delimiter_of(uri), encoding), None)
    return header.cells or () if header is not None else ()


def parquet_names(uri: str) -> frozenset[str]:
    """Return the names of the columns of a Parquet file; none where it is damaged."""
    with watched(uri) as file:
        try:
            return frozenset(parquet.ParquetFile(file).schema_arrow.names)
        except DAMAGE:
            if file.failure is not None:
                raise
            return frozenset()


def parquet_records(shard: Shard, left_out: frozenset[str], wanted: Callable[[int], bool]) -> Iterator[Found]:
    """Yield the rows of some row groups, numbered as in the file.

    Args:
        shard: the file, and its row groups from `start` to `stop`.
        left_out: columns that are not read.
        wanted: which rows of the shard are; a row group without any gives empty records.
    """
    with watched(shard.uri) as file:
        yield from _until_damage(_row_groups(file, shard, left_out, wanted), file)


def _until_damage(records: Iterator[Found], file: WatchedFile) -> Iterator[Found]:
    numbered = until_damage(enumerate(records), file, lambda number, error: Found(None, b"", _damage(number, error)))
    return (found for _, found in numbered)


def _damage(number: int, error: Exception) -> str:
    return f"cannot be read past row {number}: {one_line(error, 160) or type(error).__name__}"


def _row_groups(
    file: WatchedFile, shard: Shard, left_out: frozenset[str], wanted: Callable[[int], bool]
) -> Iterator[Found]:
    opened = parquet.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)
    sizes = [opened.metadata.row_group(i).num_rows for i in range(opened.metadata.num_row_groups)]
    if len(sizes) < shard.stop or shard.stop == 0:
        raise RunError(f"{shard.uri}: the file changed after the run listed it")
    names = [name for name in opened.schema_arrow.names if name not in left_out]
    number, first = 0, sum(sizes[: shard.start])
    for group in range(shard.start, shard.stop):
        metadata = opened.metadata.row_group(group)
        if not any(map(wanted, range(number, number + metadata.num_rows))):
            yield from (Found({}, b"") for _ in range(metadata.num_rows))
            number += metadata.num_rows
            continue
        size = rows_per_batch(metadata.num_rows, metadata.total_byte_size)
        for batch in batches_of(opened, group, names, size):
            columns = [values_of(column) for column in batch.columns]
            for values in zip(*columns, strict=True):
                record = dict(zip(names, values, strict=True))
                yield Found({NUMBER: first + number, **record}, _line(record))
                number += 1


def _line(record: Mapping[str, Any]) -> bytes:
    """Return the bytes that a row without an image is known by."""
    return json.dumps({name: value for name, value in record.items() if isinstance(value, str | int)}).encode()

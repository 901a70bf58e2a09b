"""Rows of one product that follow each other, read as one row with all their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.readers.row_builder import identity
from vqa_ray.readers.row_tables import MAX_TABLE_BYTES, MAX_TABLE_ROWS
from vqa_ray.readers.source import Shard
from vqa_ray.row_text.hidden_columns import TEXT_WARNING

# More photos of a product are left out: they would fill the context of the model.
MOST_PHOTOS = 16


def whole_files(shards: Sequence[Shard]) -> tuple[Shard, ...]:
    """Join the shards of a file, so that none ends within a product; how many products it holds, only reading tells."""
    joined: list[Shard] = []
    for shard in shards:
        last = joined[-1] if joined else None
        if last and (last.uri, last.names, last.stop) == (shard.uri, shard.names, shard.start) and shard.start:
            joined[-1] = replace(last, stop=shard.stop, size_bytes=last.size_bytes + shard.size_bytes)
        else:
            joined.append(shard)
    return tuple(replace(shard, index=index, rows=None) for index, shard in enumerate(joined))


def together(
    tables: Iterator[pa.Table], shard: Shard, column: str, wanted: Callable[[int], bool]
) -> Iterator[pa.Table]:
    """Yield a row for each run of rows with the same value in a column, numbered without gaps.

    A row without a value stays alone. A row in error is left out of a product that has others, which `warning` tells.

    Args:
        tables: READ tables of all rows of the shard, with `TEXT_WARNING`.
        shard: what they are read from.
        column: its name in them.
        wanted: which numbers are.
    """
    batch: list[dict[str, Any]] = []
    size_bytes, form = 0, None
    for number, rows in enumerate(_runs(tables, column)):
        form = rows[0][1]
        if wanted(number):
            product = _product([row for row, _ in rows], (shard.index << schema.ROW_BITS) + number)
            size_bytes += sum(len(each["image"] or b"") for each in _photos(product))
            batch.append(product)
        if len(batch) >= MAX_TABLE_ROWS or size_bytes > MAX_TABLE_BYTES:
            yield pa.Table.from_pylist(batch, form)
            batch, size_bytes = [], 0
    if batch:
        yield pa.Table.from_pylist(batch, form)


def _runs(tables: Iterator[pa.Table], column: str) -> Iterator[list[tuple[dict[str, Any], pa.Schema]]]:
    waiting: list[tuple[dict[str, Any], pa.Schema]] = []
    for table in tables:
        for row in table.to_pylist():
            if waiting and (row[column] is None or row[column] != waiting[0][0][column]):
                yield waiting
                waiting = []
            waiting.append((row, table.schema))
    if waiting:
        yield waiting


def _photos(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"image_uri": row["image_uri"], "image": row["image"]}, *(row["extra_images"] or ())]


def _product(rows: Sequence[dict[str, Any]], key: int) -> dict[str, Any]:
    """Return the rows of a product as one."""
    usable = [row for row in rows if row["status"] == schema.STATUS_OK]
    if len(rows) == 1 or not usable:
        return {**rows[0], "source_key": key}
    first, failed = usable[0], [row for row in rows if row["status"] != schema.STATUS_OK]
    photos = [photo for row in usable for photo in _photos(row)]
    notes = [first[TEXT_WARNING.name]] if first[TEXT_WARNING.name] else []
    if failed:
        notes.append(left_out(len(failed), len(rows), f"{failed[0]['error_code']}: {failed[0]['error_message']}"))
    if len(photos) > MOST_PHOTOS:
        notes.append(f"only the first {MOST_PHOTOS} of {len(photos)} photos were shown")
    return {
        **first,
        "source_key": key,
        "row_id": identity(*(str(row["row_id"]).encode() for row in rows)),
        "image_id": ", ".join(row["image_id"] for row in usable if row["image_id"] is not None) or None,
        **photos[0],
        "extra_images": photos[1:MOST_PHOTOS] or None,
        TEXT_WARNING.name: "; ".join(notes) or None,
    }


def left_out(count: int, photos: int, reason: str) -> str:
    """Return the warning of a product of which photos are left out."""
    return f"{count} of {photos} photos left out: {reason}"

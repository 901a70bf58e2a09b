"""Numbered rows as Arrow tables of the READ schema."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.conversation.conversation import CONVERSATION, cells_of
from vqa_ray.readers.row_builder import Row
from vqa_ray.readers.source import Shard, Source
from vqa_ray.row_text.hidden_columns import TEXT_WARNING

MAX_TABLE_ROWS = 256
MAX_TABLE_BYTES = 16 * 2**20

T = TypeVar("T")
U = TypeVar("U")


def tables(
    rows: Iterable[tuple[int, Row | None]], source: Source, shard: Shard, wanted: Callable[[int], bool]
) -> Iterator[pa.Table]:
    """Numbered rows as tables of READ and the kept fields, of at most 256 rows and, but for a single row, 16 MiB."""
    batch: list[tuple[int, Row]] = []
    size_bytes = 0
    for number, row in rows:
        if row is None or not wanted(number):
            continue
        more_bytes = row.size_bytes()
        if batch and (len(batch) >= MAX_TABLE_ROWS or size_bytes + more_bytes > MAX_TABLE_BYTES):
            yield _table(batch, source, shard)
            batch, size_bytes = [], 0
        batch.append((number, row))
        size_bytes += more_bytes
    if batch:
        yield _table(batch, source, shard)


def wanted_rows(shard: Shard, keys: Collection[int] | None) -> Callable[[int], bool]:
    """Return a test for row numbers of the shard that are among the source keys; all are when `keys` is None."""
    if keys is None:
        return _always
    first = shard.index << schema.ROW_BITS
    numbers = frozenset(key - first for key in keys if key >> schema.ROW_BITS == shard.index)
    return numbers.__contains__


def numbered(
    items: Iterable[T], make: Callable[[T], U], wanted: Callable[[int], bool]
) -> Iterator[tuple[int, U | None]]:
    """Yield (number, row) of each item; the row is only made where it is wanted."""
    for number, item in enumerate(items):
        yield number, make(item) if wanted(number) else None


def _always(number: int) -> bool:
    return True


def _table(batch: Sequence[tuple[int, Row]], source: Source, shard: Shard) -> pa.Table:
    kept = source.passthrough
    first = shard.index << schema.ROW_BITS
    rows = [row for _, row in batch]
    columns: dict[str, list[object]] = {
        "source_key": [first + number for number, _ in batch],
        "row_id": [row.row_id for row in rows],
        "image_id": [row.image_id for row in rows],
        "question_id": [row.question_id for row in rows],
        "questions": [row.questions for row in rows],
        "turns": [[{"question": q, "answer": a} for q, a in row.turns] or None for row in rows],
        "image_uri": [row.image_uri for row in rows],
        "image": [row.image for row in rows],
        "extra_images": [[{"image_uri": u, "image": data} for u, data in row.extra_images] or None for row in rows],
        "status": [schema.STATUS_ERROR if row.error else schema.STATUS_OK for row in rows],
        "error_code": [row.error and str(row.error.code) for row in rows],
        "error_message": [row.error and row.error.message for row in rows],
    }
    arrays = [pa.array(columns[part.name], part.type) for part in schema.READ]
    arrays += [pa.array([row.passthrough[i] for row in rows], part.type) for i, part in enumerate(kept)]
    config = source.config
    if config.conversations:
        talks = [row.conversation for row in rows]
        arrays.append(pa.array([talk and cells_of(talk) for talk in talks], CONVERSATION.type))
        kept = (*kept, CONVERSATION)
    if config.conversations or config.text is not None or config.together:
        arrays.append(pa.array([row.text_warning for row in rows], TEXT_WARNING.type))
        kept = (*kept, TEXT_WARNING)
    return pa.Table.from_arrays(arrays, schema=schema.with_kept(schema.READ, kept))

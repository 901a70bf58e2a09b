"""Arrow record batches to rows: what Parquet files and Hugging Face datasets share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping

import pyarrow as pa
from pyarrow import compute, types

from vqa_ray.readers.coerce import Unreadable
from vqa_ray.readers.columns import is_bytes, is_text, plain
from vqa_ray.readers.partitions import with_path_columns
from vqa_ray.readers.passthrough import keep_arrow
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import MAX_TABLE_BYTES, MAX_TABLE_ROWS
from vqa_ray.readers.source import Source


def rows_of(
    batches: Iterable[pa.RecordBatch],
    first: int,
    source: Source,
    builder: RowBuilder,
    wanted: Callable[[int], bool],
    *,
    path: Mapping[str, str | None],
) -> Iterator[tuple[int, Row | None]]:
    """Yield (number, row) of each row of the batches, numbered from `first`; unwanted rows are None.

    Args:
        batches: of one file.
        first: the number of their first row.
        source: what is read.
        builder: makes the rows.
        wanted: which numbers are.
        path: the named columns that the file's path speaks of.
    """
    number = first
    for batch in batches:
        for piece in _pieces(with_path_columns(batch, path)):
            indices = [i for i in range(piece.num_rows) if wanted(number + i)]
            chosen = piece if len(indices) == piece.num_rows else piece.take(pa.array(indices, pa.int64()))
            rows = iter(_make(chosen, source, builder))
            keep = set(indices)
            for i in range(piece.num_rows):
                yield number, next(rows) if i in keep else None
                number += 1


def rows_per_batch(rows: int, size_bytes: int) -> int:
    """Return the number of rows to take at once of `rows` that are `size_bytes` together."""
    return max(1, min(MAX_TABLE_ROWS, MAX_TABLE_BYTES * rows // max(size_bytes, 1)))


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    step = rows_per_batch(batch.num_rows, batch.get_total_buffer_size())
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def _make(batch: pa.RecordBatch, source: Source, builder: RowBuilder) -> Iterator[Row]:
    if not batch.num_rows:
        return
    layout = source.column_map
    as_ids = {*layout.image_id, *layout.question_id}
    columns: dict[str, list[object]] = {}
    for name in layout.names():
        found = batch.schema.get_all_field_indices(name)
        if found:
            column = batch.column(found[0])
            is_left = name in layout.image and not source.config.reads_images and not types.is_list(column.type)
            columns[name] = _named_only(column) if is_left else values_of(column, as_text=name in as_ids)
    kept = keep_arrow(batch, source.passthrough_columns())
    for i in range(batch.num_rows):
        yield builder.row({name: column[i] for name, column in columns.items()}, kept[i])


def values_of(column: pa.Array, *, as_text: bool = False) -> list[object]:
    """Return Python values; strings that are not UTF-8 become `Unreadable`.

    Args:
        column: of any type.
        as_text: cast numbers, dates and so on to text, as ids are.
    """
    given = plain(column.type)
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    elif types.is_run_end_encoded(column.type):
        column = compute.run_end_decode(column)
    is_uuid = isinstance(column.type, pa.UuidType)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if as_text and is_uuid:
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in column.to_pylist()]
    # Floats are left to `as_id`: Arrow writes 100000000030.0 as 1.0000000003e+11.
    if as_text and not (is_text(given) or is_bytes(given) or types.is_null(given) or types.is_floating(given)):
        column = compute.cast(column, pa.string())
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_value(column[i]) for i in range(len(column))]


def _named_only(column: pa.Array) -> list[object]:
    """Return the names of images alone: a struct without its bytes; null for bare bytes."""
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    if not types.is_struct(storage.type) or storage.type.get_field_index("path") < 0:
        return [None] * len(storage)
    return [{"path": path} for path in values_of(compute.struct_field(storage, "path"))]


def _value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return Unreadable("text that is not UTF-8")

"""Parquet files: one shard for every few row groups, read in batches of only the columns that are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

import pyarrow as pa
from pyarrow import parquet

from vqa_ray.errors import RunError
from vqa_ray.readers.arrow_rows import rows_of, rows_per_batch
from vqa_ray.readers.column_types import check_types
from vqa_ray.readers.columns import check_keep, check_unique, present_labels, resolve, with_named_images
from vqa_ray.readers.damage import DAMAGE, WatchedFile, until_damage, watched
from vqa_ray.readers.formats.parquet_dictionaries import rows_within
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.partitions import named_path_values, path_names, with_path_fields
from vqa_ray.readers.passthrough import infer_arrow
from vqa_ray.readers.passthrough_types import notes_on
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.source import ColumnMap, InputConfig, OpenedInput, Shard, Source, join_names, request_error
from vqa_ray.storage.filesystem import FileEntry

SHARD_BYTES = 64 * 2**20
SHARD_ROWS = 2_000
# Column chunks are read through buffers of this size, so that a row group of any size fits in memory.
_BUFFER_BYTES = 2 * 2**20
_FOOTERS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class _Footer:
    """The footer of a file; `groups` holds (rows, compressed bytes of the needed columns) of each row group."""

    schema: pa.Schema
    groups: tuple[tuple[int, int], ...]


def open_parquet(config: InputConfig, listing: Listing, entries: Sequence[FileEntry] | None = None) -> OpenedInput:
    """Find the shards of Parquet files (those of the listing, or `entries`).

    A file whose footer cannot be read is a shard of one row, which says so.

    Raises:
        RequestError: a column that is needed is missing in a file, is there twice, or is of the wrong type; or a column
            to keep is missing in all files.
    """
    files = listing.of("parquet") if entries is None else entries
    layout, names = _first_layout(config, listing, files)
    config = replace(config, labels=present_labels(config, names))
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        footers = list(
            pool.map(
                lambda entry: _check(_footer(entry.uri, layout, config.passthrough), entry, layout, config, listing),
                files,
            )
        )
    read = {entry: footer for entry, footer in zip(files, footers, strict=True) if footer is not None}
    shards: list[Shard] = []
    for entry, footer in zip(files, footers, strict=True):
        if footer is None:
            shards.append(Shard(len(shards), entry.uri, rows=1, size_bytes=entry.size_bytes))
        else:
            shards += [replace(shard, index=len(shards) + i) for i, shard in enumerate(_split(entry.uri, footer))]
    if not shards:
        raise request_error(f"{listing.uri}: the input is empty: {len(files)} Parquet files hold no rows")
    schemas, notes = _with_missing_columns(config, {entry: footer.schema for entry, footer in read.items()}, listing)
    kept = infer_arrow(config.passthrough, schemas, config.labels)
    return OpenedInput(tuple(shards), layout, kept, (*notes, *notes_on(config.keep, schemas, kept)), columns=names)


def _with_missing_columns(
    config: InputConfig, schemas: Mapping[FileEntry, pa.Schema], listing: Listing
) -> tuple[list[pa.Schema], list[str]]:
    """Add columns of nulls for kept columns that some files lack.

    Returns:
        The schemas, and a note for each such column.

    Raises:
        RequestError: a column is missing in all files.
    """
    known = list(dict.fromkeys(name for arrow in schemas.values() for name in arrow.names))
    if schemas:
        first = listing.relative(next(iter(schemas)))
        check_keep(config, known, first if len(schemas) == 1 else listing.uri)
    notes, completed = [], dict(schemas)
    for name, why in config.kept_columns():
        lacking = [entry for entry, arrow in schemas.items() if name not in arrow.names]
        for entry in lacking:
            completed[entry] = completed[entry].append(pa.field(name, pa.null()))
        if lacking:
            example = listing.relative(lacking[0])
            notes.append(
                f"{why}: {len(lacking)} of {len(schemas)} files have no such column (for example "
                f"{example}); their rows have null there"
            )
    return list(completed.values()), notes


def read_parquet(source: Source, shard: Shard, keys: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Yield the rows of one shard.

    Raises:
        RunError: the file has fewer row groups than when it was opened.
        OSError: the store cannot be read.
    """
    builder = RowBuilder(source, shard.uri)
    with watched(shard.uri) as file:
        yield from until_damage(_rows(file, source, shard, builder, keys), file, builder.damaged)


def _rows(
    file: WatchedFile, source: Source, shard: Shard, builder: RowBuilder, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, Row | None]]:
    opened = parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)
    if opened.metadata.num_row_groups < shard.stop or shard.stop == 0:
        raise RunError(f"{shard.uri}: the file changed after the run listed it")
    path = named_path_values(source, shard.uri)
    names = _needed(source.column_map, source.config.passthrough)
    if not source.config.reads_images:
        names = [f"{name}.path" if name in source.column_map.image else name for name in names]
    leaves = _leaves(opened.metadata, names)
    number = 0
    for group in range(shard.start, shard.stop):
        metadata = opened.metadata.row_group(group)
        rows = metadata.num_rows
        if not any(map(wanted, range(number, number + rows))):
            if rows:
                yield number + rows - 1, None
            number += rows
            continue
        size_bytes = sum(metadata.column(i).total_uncompressed_size for i in leaves)
        at_once = rows_within(cast("BinaryIO", file), metadata, leaves, rows_per_batch(rows, size_bytes))
        batches = batches_of(opened, group, names, at_once)
        yield from rows_of(batches, number, source, builder, wanted, path=path)
        number += rows


def batches_of(opened: parquet.ParquetFile, group: int, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
    """Batches of a row group; when one cannot be read, the rows before the damage are still given one by one."""
    done = 0
    try:
        for batch in opened.iter_batches(size, row_groups=[group], columns=list(names), use_threads=False):
            yield batch
            done += batch.num_rows
    except DAMAGE:
        if size == 1:
            raise
    else:
        return
    for i, batch in enumerate(opened.iter_batches(1, row_groups=[group], columns=list(names), use_threads=False)):
        if i >= done:
            yield batch


def row_group_shards(uri: str) -> list[Shard]:
    """Return the shards of a file of which all columns are read; of a damaged one, a shard of one row."""
    footer = _footer(uri, ColumnMap(), None)
    return [Shard(0, uri, rows=1)] if footer is None else list(_split(uri, footer))


def _footer(uri: str, layout: ColumnMap, keep: Sequence[str] | None) -> _Footer | None:
    with watched(uri) as file:
        try:
            opened = parquet.ParquetFile(file)
            metadata, schema = opened.metadata, opened.schema_arrow
        except DAMAGE:
            if file.failure is not None:
                raise
            return None
    leaves = range(metadata.num_columns) if keep is None else _leaves(metadata, _needed(layout, keep))
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    sizes = [sum(group.column(i).total_compressed_size for i in leaves) for group in groups]
    return _Footer(schema, tuple((group.num_rows, size) for group, size in zip(groups, sizes, strict=True)))


def _first_layout(
    config: InputConfig, listing: Listing, files: Sequence[FileEntry]
) -> tuple[ColumnMap, tuple[str, ...]]:
    for entry in files:
        footer = _footer(entry.uri, ColumnMap(), ())
        if footer is not None:
            names = tuple(with_path_fields(config, footer.schema, path_names([entry.uri], listing.root)).names)
            found = with_named_images(config, footer.schema)
            # A column to keep may be missing in some files.
            pairs = [pair for pair in zip(found.keep, found.keep_as or found.keep, strict=True) if pair[0] in names]
            found = replace(
                found, keep=tuple(ours for ours, _ in pairs), keep_as=tuple(written for _, written in pairs)
            )
            return resolve(found, names, listing.relative(entry)), names
    return ColumnMap(), ()


def _check(
    footer: _Footer | None, entry: FileEntry, layout: ColumnMap, config: InputConfig, listing: Listing
) -> _Footer | None:
    """Return the footer, its schema with the columns of the file's path."""
    if footer is None:
        return None
    footer = replace(footer, schema=with_path_fields(config, footer.schema, path_names([entry.uri], listing.root)))
    where, names = entry.uri.rpartition("/")[2], footer.schema.names
    labels = ((name,) for name in config.labels)
    for role in (layout.question, layout.questions, (*layout.image, *layout.image_uri), *labels):
        if role and not any(name in names for name in role):
            raise request_error(
                f"{where}: no column {role[0]!r}, which other files have; the columns are: {join_names(names)}"
            )
    check_unique((*layout.names(), *config.passthrough), names, where)
    check_types(layout, footer.schema, where, any_images=config.conversations)
    return footer


def _split(uri: str, footer: _Footer) -> Iterator[Shard]:
    """Yield runs of row groups, each as long as it stays within `SHARD_BYTES` and `SHARD_ROWS`."""
    start, rows, size_bytes = 0, 0, 0
    for i, (more_rows, more_bytes) in enumerate(footer.groups):
        if rows and (rows + more_rows > SHARD_ROWS or size_bytes + more_bytes > SHARD_BYTES):
            yield Shard(0, uri, start, i, rows=rows, size_bytes=size_bytes)
            start, rows, size_bytes = i, 0, 0
        rows += more_rows
        size_bytes += more_bytes
    if rows:
        yield Shard(0, uri, start, len(footer.groups), rows=rows, size_bytes=size_bytes)


def _needed(layout: ColumnMap, keep: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*layout.names(), *keep)))


def _leaves(metadata: parquet.FileMetaData, names: Sequence[str]) -> list[int]:
    paths = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    return [i for i, path in enumerate(paths) if any(path == name or path.startswith(f"{name}.") for name in names)]

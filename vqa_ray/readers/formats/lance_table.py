"""Lance datasets: a fragment is a file, of which a shard is a run of rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from vqa_ray.errors import RunError, VqaRayError, one_line
from vqa_ray.readers.arrow_rows import rows_of, rows_per_batch
from vqa_ray.readers.column_types import check_types
from vqa_ray.readers.columns import check_keep, present_labels, resolve, with_named_images
from vqa_ray.readers.formats.parquet import SHARD_BYTES, SHARD_ROWS
from vqa_ray.readers.lance_fragments import fragment_of, fragments, is_missing, open_version
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.partitions import named_path_values, path_names, with_path_fields
from vqa_ray.readers.passthrough import infer_arrow
from vqa_ray.readers.passthrough_types import notes_on
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.source import InputConfig, OpenedInput, Shard, Source, request_error
from vqa_ray.storage.filesystem import FileEntry
from vqa_ray.storage.lake_storage import is_of_store, patiently
from vqa_ray.storage.uri import scheme_of

logger = logging.getLogger(__name__)

# Lance reads ahead by gigabytes otherwise.
_READ_AHEAD_BYTES = 64 * 2**20
# Files that a store gives short look damaged; so often, damage there is looked at again.
_DOUBTS = 4
# Lance's own errors have these kinds; pyarrow's are among them.
_ERRORS = (OSError, ValueError, RuntimeError)


class _DamageError(Exception):
    """The data of a fragment make no sense."""


def open_lance(config: InputConfig, listing: Listing) -> OpenedInput:
    """Find the shards of a dataset at the version of the listing.

    Raises:
        RequestError: it lacks a column, or has one of a wrong type; or the version was cleaned up, and not all of its
            fragments are in the latest one.
    """
    version, dataset = _open(listing)
    schema = dataset.scanner(blob_handling="all_binary").projected_schema
    schema = with_path_fields(config, schema, path_names([entry.uri for entry in listing.entries[:1]], listing.root))
    check_keep(config, schema.names, listing.uri)
    layout = resolve(with_named_images(config, schema), schema.names, listing.uri)
    check_types(layout, schema, listing.uri, any_images=config.conversations)
    shards = _shards(listing, dataset, version)
    if not shards:
        raise request_error(f"{listing.uri}: the input is empty: the dataset has no rows")
    labels = present_labels(config, schema.names)
    kept = infer_arrow((*config.keep, *labels), [schema], labels)
    return OpenedInput(shards, layout, kept, notes_on(config.keep, [schema], kept), columns=tuple(schema.names))


def read_lance(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Yield the rows of one shard; where they cannot be read any further, one row says so.

    Raises:
        RunError: the dataset is not there any more as it was listed.
        OSError: the store cannot be read, or a file is gone.
    """
    builder, number = RowBuilder(source, shard.uri), 0
    if not any(map(wanted, range(shard.stop - shard.start))):
        yield shard.stop - shard.start - 1, None
        return
    try:
        path = named_path_values(source, shard.uri)
        for number, row in rows_of(_batches(source, shard), 0, source, builder, wanted, path=path):
            yield number, row
            number += 1
    except _DamageError as error:
        yield number, builder.damaged(number, error)
        return
    if number != shard.stop - shard.start:
        raise RunError(f"{shard.uri}: gave {number} rows instead of {shard.stop - shard.start}")


def _open(listing: Listing) -> tuple[int, Any]:
    """Open the version of a listing; where it was cleaned up, the latest, if all fragments are there."""
    assert listing.lance_version is not None
    version = listing.lance_version
    try:
        return version, patiently(lambda: open_version(listing.root, version), listing.uri, listing.root)
    except _ERRORS as error:
        if not is_missing(error):
            raise request_error(f"{listing.uri}: cannot be opened: {one_line(error, 200)}") from error
    latest = patiently(lambda: open_version(listing.root, None), listing.uri, listing.root)
    lost = sorted({entry.uri for entry in _missing(listing, latest)})
    if lost:
        raise request_error(
            f"{listing.uri}: version {version}, which the run began with, was cleaned up, and {len(lost)} of its "
            f"fragments have changed since (for example {lost[0].rpartition('/')[2]}); take in the changes with "
            "--update once the run is finished, or use another --output"
        )
    return int(latest.version), latest


def _missing(listing: Listing, dataset: Any) -> Iterator[FileEntry]:
    there = {entry.uri for entry in fragments(listing.root, dataset)}
    return (entry for entry in listing.entries if entry.uri not in there)


def _shards(listing: Listing, dataset: Any, version: int) -> tuple[Shard, ...]:
    rows = {entry.uri: count for entry, count in _counted(listing.root, dataset)}
    shards: list[Shard] = []
    for entry in listing.entries:
        total = rows.get(entry.uri, 0)
        row_bytes = entry.size_bytes / max(1, total)
        step = max(1, min(SHARD_ROWS, int(SHARD_BYTES / max(1.0, row_bytes))))
        for start in range(0, total, step):
            stop = min(total, start + step)
            shards.append(
                Shard(
                    len(shards),
                    entry.uri,
                    start,
                    stop,
                    (str(version),),
                    rows=stop - start,
                    size_bytes=int(row_bytes * (stop - start)),
                )
            )
    return tuple(shards)


def _counted(root: str, dataset: Any) -> Iterator[tuple[FileEntry, int]]:
    counts = (fragment.metadata.num_rows for fragment in dataset.get_fragments())
    return zip(fragments(root, dataset), counts, strict=True)


def _batches(source: Source, shard: Shard) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard as Lance gives them.

    Raises:
        _DamageError: the data cannot be read; otherwise as `read_lance`.
    """
    scan, doubts = _Scan(source, shard), 0
    while True:
        try:
            batch = patiently(scan.next, shard.uri, shard.uri)
        except VqaRayError:
            # Ours are RuntimeErrors and ValueErrors, too.
            raise
        except _ERRORS as error:
            reason = _reason(shard, error)
            doubts += 1
            if isinstance(reason, _DamageError) and doubts <= _DOUBTS and scheme_of(shard.uri) != "file":
                logger.warning("%s: %s; again", shard.uri, reason)
                continue
            raise reason from error
        doubts = 0
        if batch is None:
            return
        yield batch


class _Scan:
    """Reads a shard from front to back; after an error it goes on where it was.

    Args:
        source: what is read.
        shard: its part.
    """

    def __init__(self, source: Source, shard: Shard) -> None:
        self._source, self._shard = source, shard
        self._done = 0
        self._batches: Iterator[pa.RecordBatch] | None = None
        # The images of which only the names are read.
        self._named: list[str] = []

    def next(self) -> pa.RecordBatch | None:
        """Read the next batch; None at the end.

        Raises:
            RunError: the fragment is not there as it was listed.
            OSError, ValueError, RuntimeError: raised by Lance.
        """
        try:
            if self._batches is None:
                self._batches = self._begin()
            batch = next(self._batches, None)
        except _ERRORS:
            self._batches = None
            raise
        if batch is None:
            return None
        self._done += batch.num_rows
        return _nested(batch, self._named)

    def _begin(self) -> Iterator[pa.RecordBatch]:
        (version,) = self._shard.names
        fragment = fragment_of(self._shard.uri, int(version))
        schema = fragment.scanner(blob_handling="all_binary", limit=1).projected_schema
        columns, self._named = _columns(self._source, schema)
        rows = self._shard.stop - self._shard.start
        if rows == self._done:
            return iter(())
        scanner = fragment.scanner(
            columns=[*columns, *(f"{name}.path" for name in self._named)],
            offset=self._shard.start + self._done,
            limit=rows - self._done,
            batch_size=rows_per_batch(rows, self._shard.size_bytes),
            batch_readahead=1,
            io_buffer_size=_READ_AHEAD_BYTES,
            blob_handling="all_binary",
        )
        batches: Iterator[pa.RecordBatch] = iter(scanner.to_batches())
        return batches


def _reason(shard: Shard, error: Exception) -> Exception:
    """Return the error to raise for one of Lance's."""
    if is_missing(error):
        return FileNotFoundError(f"{shard.uri}: {one_line(error, 300)}")
    if is_of_store(error, shard.uri):
        return OSError(f"{shard.uri}: {one_line(error, 300)}")
    return _DamageError(one_line(error, 300))


def _columns(source: Source, schema: pa.Schema) -> tuple[list[str], list[str]]:
    """Return the columns to read, and the images of which only the names are read."""
    wanted = dict.fromkeys((*source.column_map.names(), *source.config.passthrough))
    # The columns of the path are not in the dataset.
    there = {name: schema.field(name).type for name in wanted if name in schema.names}
    images: list[str] = []
    if not source.config.reads_images:
        images = [name for name in there if name in source.column_map.image and not pa.types.is_list(there[name])]
    named = [name for name in images if pa.types.is_struct(there[name]) and there[name].get_field_index("path") >= 0]
    return [name for name in there if name not in images], named


def _nested(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    """Make structs again of the paths of images, which come as columns of their own."""
    for name in names:
        at = batch.schema.get_field_index(f"{name}.path")
        batch = batch.set_column(at, name, pa.StructArray.from_arrays([batch.column(at)], names=["path"]))
    return batch

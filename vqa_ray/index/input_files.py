"""The input files of an index, and how an input differs from them.

A *source* changes as a whole: an image file, a table file, or a dataset on a hub at one revision.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.keys import Ranges, within
from vqa_ray.readers import Shard, Source
from vqa_ray.readers.formats.hf import is_hub_name
from vqa_ray.readers.formats.images import SHARD_FILES
from vqa_ray.readers.lake_tables import parse_table
from vqa_ray.readers.listing import absolute
from vqa_ray.schema import ROW_BITS
from vqa_ray.storage.filesystem import FileEntry

# `size_bytes` of a source that was read in part (`--limit`). No file has that size, so the source is read again.
IN_PART = -1
_ROWS = 1 << ROW_BITS

SOURCES = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        # The input that it belongs to: a source that is gone from the input leaves the index.
        pa.field("input", pa.string(), nullable=False),
        # The update that read it, in which the keys of its rows are `first_key` to `last_key`, both included. A file of
        # several shards has a row for each; the last key of a shard with an unknown number of rows is the largest
        # possible.
        pa.field("update", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("modified", pa.timestamp("us", "UTC")),
        pa.field("first_key", pa.int64(), nullable=False),
        pa.field("last_key", pa.int64(), nullable=False),
    ]
)
NONE = SOURCES.empty_table()


@dataclass(frozen=True, slots=True)
class Difference:
    """The differences between an input and an index: URIs of sources, in order."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def to_read(self) -> frozenset[str]:
        """The sources to read: added or changed."""
        return frozenset((*self.added, *self.changed))

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.gone)


def input_name(uri: str) -> str:
    """Return the absolute URI of an input, as SOURCES names it; a table is the same in all its versions."""
    if (table := parse_table(uri)) is not None:
        return f"{table.kind}:{table.address if table.kind == 'iceberg' else absolute(table.address)}"
    return uri if is_hub_name(uri) and "://" not in uri else absolute(uri)


def difference(known: pa.Table, source: Source) -> Difference:
    """Compare an input with the sources of an index.

    Args:
        known: SOURCES of the index.
        source: the input.
    """
    states = _states(known["uri"].to_pylist(), known["size_bytes"].to_pylist(), known["modified"])
    files = list(_files(source))
    modified = pa.array([entry.modified for entry in files], known["modified"].type)
    listed = _states([entry.uri for entry in files], [entry.size_bytes for entry in files], modified)
    own = dict.fromkeys(known.filter(pc.equal(known["input"], input_name(source.config.uri)))["uri"].to_pylist())
    return Difference(
        added=tuple(uri for uri in listed if uri not in states),
        changed=tuple(uri for uri, state in listed.items() if uri in states and states[uri] != state),
        gone=tuple(uri for uri in own if uri not in listed),
    )


def _states(
    uris: Sequence[str], sizes: Sequence[int], modified: pa.Array | pa.ChunkedArray
) -> dict[str, tuple[int, int | None]]:
    """(size in bytes, modification time in µs) by URI; plain numbers, since an index has millions of files."""
    return dict(zip(uris, zip(sizes, modified.cast(pa.int64()).to_pylist(), strict=True), strict=True))


def restrict(source: Source, uris: Collection[str]) -> Source:
    """Restrict an input to some of its sources, with new shard numbers; it keeps its fingerprint."""
    files = tuple(entry for entry in source.files if entry.uri in uris)
    if source.format == "images":
        sizes = {entry.uri: entry.size_bytes for entry in files}
        shards = tuple(_image_shards(source, sizes))
    else:
        wanted = (shard for shard in source.shards if _uri(source, shard) in uris)
        shards = tuple(replace(shard, index=index) for index, shard in enumerate(wanted))
    rows = [shard.rows for shard in shards]
    total = None if None in rows else sum(count or 0 for count in rows)
    return replace(source, shards=shards, files=files, total_rows=total)


def planned_files(source: Source, update: str, limits: Mapping[int, int] | None = None) -> pa.Table:
    """Make the SOURCES that an update reads.

    Args:
        source: `restrict` to it.
        update: its name.
        limits: shard → rows that are read of it; None for all.
    """
    states = {entry.uri: (entry.size_bytes, entry.modified) for entry in _files(source)}
    ranges = list(_ranges(source, limits))
    sizes = [states[uri][0] if whole else IN_PART for uri, _, _, whole in ranges]
    columns = {
        "uri": [uri for uri, *_ in ranges],
        "input": [input_name(source.config.uri)] * len(ranges),
        "update": [update] * len(ranges),
        "size_bytes": sizes,
        "modified": [states[uri][1] for uri, *_ in ranges],
        "first_key": [first for _, first, _, _ in ranges],
        "last_key": [last for _, _, last, _ in ranges],
    }
    return pa.table([pa.array(columns[part.name], part.type) for part in SOURCES], schema=SOURCES)


def keys_by_update(known: pa.Table, uris: Collection[str]) -> dict[str, Ranges]:
    """Return the keys of sources by update: int64 (R, 2) ranges, ascending, both ends included."""
    rows = known.filter(pc.is_in(known["uri"], pa.array(sorted(uris), pa.string()))).sort_by("first_key")
    found = {}
    for update in pc.unique(rows["update"]).to_pylist():
        part = rows.filter(pc.equal(rows["update"], update))
        found[update] = np.stack([part["first_key"].to_numpy(), part["last_key"].to_numpy()], axis=1)
    return found


def without_files(known: pa.Table, uris: Collection[str]) -> pa.Table:
    """Return SOURCES without some of them."""
    return known.filter(pc.invert(pc.is_in(known["uri"], pa.array(sorted(uris), pa.string()))))


def completely_written(planned: pa.Table, written: Ranges) -> pa.Table:
    """Return the planned sources that are certainly written completely.

    Args:
        planned: SOURCES of an interrupted update.
        written: its committed source_keys, int64 (R, 2) ranges, ascending.
    """
    first, last = planned["first_key"].to_numpy(), planned["last_key"].to_numpy()
    owner = np.searchsorted(written[:, 0], first, side="right") - 1
    covered = within(first, written)
    covered[covered] = last[covered] <= written[owner[covered], 1]
    return without_files(planned, set(planned.filter(pa.array(~covered))["uri"].to_pylist()))


def unchanged_since(planned: pa.Table, source: Source, uris: Collection[str]) -> pa.Table:
    """Return the planned sources among `uris` that have not changed since they were read."""
    listed = {entry.uri: (entry.size_bytes, entry.modified) for entry in _files(source) if entry.uri in uris}
    states = zip(*(planned[name].to_pylist() for name in ("uri", "size_bytes", "modified")), strict=True)
    return planned.filter(pa.array([listed.get(uri) == (size, modified) for uri, size, modified in states], pa.bool_()))


def _files(source: Source) -> Iterator[FileEntry]:
    """Return the sources of an input. A source that is no file has another URI after each change."""
    if source.format == "images":
        yield from source.files
        return
    known = {_uri(source, shard) for shard in source.shards}
    if source.files:
        yield from (entry for entry in source.files if entry.uri in known)
    else:
        yield from (FileEntry(uri, 0, None) for uri in sorted(known))


def _uri(source: Source, shard: Shard) -> str:
    """Return the source of a shard; a dataset on a hub is named with its revision, configuration and split."""
    return shard.uri if source.files else f"{shard.uri}#{'/'.join(shard.names[2:])}"


def _image_shards(source: Source, sizes: Mapping[str, int]) -> Iterator[Shard]:
    root = source.root.rstrip("/")
    names = [name for shard in source.shards for name in shard.names if f"{root}/{name}" in sizes]
    for index, start in enumerate(range(0, len(names), SHARD_FILES)):
        group = tuple(names[start : start + SHARD_FILES])
        size_bytes = sum(sizes[f"{root}/{name}"] for name in group)
        yield Shard(index, source.root, names=group, rows=len(group), size_bytes=size_bytes)


def _ranges(source: Source, limits: Mapping[int, int] | None) -> Iterator[tuple[str, int, int, bool]]:
    """(URI, first key, last key, whether the source is read completely) of each image file, or of each shard."""
    if source.format == "images":
        for shard in source.shards:
            read = shard.names if limits is None else shard.names[: limits.get(shard.index, 0)]
            for number, name in enumerate(read):
                key = shard.index * _ROWS + number
                yield posixpath.join(shard.uri, name), key, key, True
        return
    cut = {
        _uri(source, shard) for shard in source.shards if limits is not None and limits.get(shard.index) != shard.rows
    }
    for shard in source.shards:
        if limits is not None and not limits.get(shard.index):
            continue
        first, uri = shard.index * _ROWS, _uri(source, shard)
        yield uri, first, first + (_ROWS if shard.rows is None else max(1, shard.rows)) - 1, uri not in cut

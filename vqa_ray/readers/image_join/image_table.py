"""The rows of an image table, without their images: each key with the place of its image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from vqa_ray.readers import InputConfig, Source, open_source, read_shard
from vqa_ray.readers.image_join.locations import Location
from vqa_ray.readers.source import Shard
from vqa_ray.schema import ROW_BITS, STATUS_OK

_NAMED_FILES = ("images", "webdataset")
_COLUMNS = ("source_key", "image_id", "image_uri", "status")
_ROW = (1 << ROW_BITS) - 1


def open_table(uri: str, column: str | None, default: str, allow_local: tuple[str, ...] = ()) -> Source:
    """Open an image table: any input with images.

    Args:
        uri: of a table, a folder or an archive.
        column: that holds the key; None for the file's name without its suffix, or the column `default` of a table.
        default: the name of the key's column in the other table.
        allow_local: see `InputConfig`.

    Raises:
        RequestError: see `open_source`.
    """
    named = {} if column is None else {"image_id": column}
    source = open_source(
        InputConfig(uri, columns=named, needs_question=False, reads_images=False, allow_local=allow_local)
    )
    if column is None and source.format not in _NAMED_FILES:
        return open_table(uri, default, default, allow_local)
    return source


def locations(source: Source) -> Iterator[tuple[str, Location]]:
    """Yield each key with its place, in the order of the rows; rows in error have no image."""
    by_name = source.format in _NAMED_FILES and "image_id" not in source.config.columns
    if by_name and source.format == "images":
        # The listing says all; rows would say the same, three times slower.
        yield from ((stem(name), Location(f"{s.uri.rstrip('/')}/{name}")) for s in source.shards for name in s.names)
        return
    for shard in source.shards:
        for table in read_shard(source, shard):
            for row in table.select(_COLUMNS).to_pylist():
                if row["status"] == STATUS_OK and row["image_id"] is not None:
                    key = stem(row["image_id"]) if by_name else row["image_id"]
                    yield key, place("", source.shards, row["image_uri"], row["source_key"])


def place(source: str, shards: Sequence[Shard], uri: str | None, source_key: int) -> Location:
    """Return the place of the image of a row."""
    if uri is not None:
        return Location(uri)
    return Location(None, source, shards[source_key >> ROW_BITS], source_key & _ROW)


def stem(name: str) -> str:
    """Return the last part of a path without its suffix."""
    return posixpath.splitext(posixpath.basename(name))[0]

"""A directory or prefix of image files: one row each."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator

import pyarrow as pa

from vqa_ray.readers.base import Contents, InputConfig, Layout, Shard, Source, refuse
from vqa_ray.readers.layout import check_names
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.rows import Row, RowMaker
from vqa_ray.readers.tables import numbered

SHARD_FILES = 256
FOLDER_LABEL = "label"
"""The label column of image files: the name of the folder that a file lies in, null for files beside the folders."""


def open_images(config: InputConfig, listing: Listing) -> Contents:
    """Group the image files into shards.

    Raises:
        RequestError: columns are asked for, no question is given though one is needed, or there are no images.
    """
    check_names(config, (), listing.uri)
    if config.keep:
        raise refuse(f"{listing.uri}: --keep {config.keep[0]}: image files have no columns")
    if config.needs_question and not config.questions:
        raise refuse(f"{listing.uri}: image files bring no questions; ask every image with --question TEXT")
    files = listing.of("images")
    shards = [
        Shard(
            index=index,
            uri=listing.root,
            names=tuple(listing.relative(entry) for entry in group),
            rows=len(group),
            size_bytes=sum(entry.size_bytes for entry in group),
        )
        for index, group in enumerate(files[i : i + SHARD_FILES] for i in range(0, len(files), SHARD_FILES))
    ]
    has_folders = any("/" in name for shard in shards for name in shard.names)
    kept = (pa.field(FOLDER_LABEL, pa.string()),) if has_folders and FOLDER_LABEL in config.labels else ()
    columns = (FOLDER_LABEL,) if has_folders else ()
    return Contents(tuple(shards), Layout(), kept, columns=columns)


def read_images(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """One row per file; nothing is fetched here."""
    maker = RowMaker(source, shard.uri)
    root = shard.uri.rstrip("/")

    def make(name: str) -> Row:
        kept = [posixpath.basename(posixpath.dirname(name)) or None] if source.kept else ()
        return maker.row({}, kept, uri=(f"{root}/{name}", name))

    return numbered(shard.names, make, wanted)

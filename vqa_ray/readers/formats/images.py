"""A directory or prefix of image files: one row each."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from vqa_ray.readers.columns import check_keep, check_names
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.partitions import path_names, path_values
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import ColumnMap, InputConfig, OpenedInput, Shard, Source, join_names, request_error
from vqa_ray.storage.filesystem import FileEntry

SHARD_FILES = 256
FOLDER_LABEL = "label"
"""The column of image files that is the name of the folder that a file lies in, null for files beside the folders."""
_ROLES = ("image_id", "question_id", "question")


def open_images(config: InputConfig, listing: Listing) -> OpenedInput:
    """Group the image files into shards.

    Raises:
        RequestError: a column is named that the paths do not give, no question is given though one is needed, or
            there are no images.
    """
    files = listing.of("images")
    layout, columns, kept = columns_of_paths(config, listing, files, "image files")
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
    return OpenedInput(tuple(shards), layout, kept, columns=columns)


def columns_of_paths(
    config: InputConfig, listing: Listing, files: Sequence[FileEntry], what: str
) -> tuple[ColumnMap, tuple[str, ...], tuple[pa.Field, ...]]:
    """Return the columns of the paths by role, the names of all, and the fields of those that ride along.

    Args:
        config: the request.
        listing: the input.
        files: of the input that are read.
        what: they are, for messages: `image files`.

    Raises:
        RequestError: a column is named that the paths do not give, or no question is given though one is needed.
    """
    layout, columns = _by_role(config, listing, files, what)
    if config.needs_question and not config.questions and not layout.question:
        raise request_error(f"{listing.uri}: {what} bring no questions; ask every image with --question TEXT")
    is_labelled = FOLDER_LABEL in columns and FOLDER_LABEL in config.labels and FOLDER_LABEL not in config.keep
    names = (*config.keep, *((FOLDER_LABEL,) if is_labelled else ()))
    return layout, columns, tuple(pa.field(name, pa.string()) for name in names)


def _by_role(
    config: InputConfig, listing: Listing, files: Sequence[FileEntry], what: str
) -> tuple[ColumnMap, tuple[str, ...]]:
    offered = path_names((entry.uri for entry in files), listing.root, by_file_name=False)
    has_folders = any("/" in listing.relative(entry) for entry in files)
    columns = tuple(dict.fromkeys((*((FOLDER_LABEL,) if has_folders else ()), *offered)))
    if not columns:
        check_names(config, (), listing.uri)
        if config.keep:
            raise request_error(f"{listing.uri}: {config.kept_columns()[0][1]}: {what} have no columns")
    check_names(config, _ROLES, listing.uri)
    for ours, theirs in config.columns.items():
        if theirs not in columns:
            raise request_error(
                f"{listing.uri}: no column {theirs!r} (--column {ours}={theirs}); there are: {join_names(columns)}"
            )
    check_keep(config, columns, listing.uri)
    return ColumnMap(**{ours: (theirs,) for ours, theirs in config.columns.items()}), columns


def read_images(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """One row per file; nothing is fetched here."""
    make = row_maker(source, shard.uri)
    return numbered(shard.names, make, wanted)


def row_maker(source: Source, root: str) -> Callable[..., Row]:
    """Return a function that makes the row of a file, by its name below the root, or of a part of it (`#page=3`)."""
    builder = RowBuilder(source, root)
    root = root.rstrip("/")
    names = [part.name for part in source.passthrough_columns()]
    needs_path = bool(names or source.column_map.names())
    # A training that names no column sees whole folder names, `label=cat` too, as it did before partitions were read.
    is_label_named = FOLDER_LABEL in (*source.config.keep, *source.config.columns.values())

    def make(name: str, part: str = "") -> Row:
        uri, values = f"{root}/{name}", {}
        if needs_path:
            folder = {FOLDER_LABEL: posixpath.basename(posixpath.dirname(name)) or None}
            found = path_values(uri, source.root, by_file_name=False)
            values = {**folder, **found} if is_label_named else {**found, **folder}
        return builder.row(values, [values.get(each) for each in names], uri=(uri + part, name + part))

    return make

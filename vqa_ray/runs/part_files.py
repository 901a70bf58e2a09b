"""Parquet files of rows, opened under whichever of their two names they have."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyarrow import parquet as pq

from vqa_ray.errors import RequestError, one_line
from vqa_ray.runs.private_names import private, public, superseded
from vqa_ray.runs.publication import PREPARED
from vqa_ray.storage.filesystem import filesystem_for


def read_columns(uri: str, columns: Iterable[str] | None = None) -> pa.Table:
    """Read those of the columns that a part file has; see `open_rows` for where it is.

    Args:
        uri: of the file.
        columns: their names; None for all.

    Raises:
        RequestError: the file is damaged.
    """
    with open_parquet(uri) as file:
        wanted = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
        return file.read(wanted)


def open_rows(uri: str) -> pa.NativeFile:
    """Open a Parquet file for reading, under its private name where it is not, or no longer, current in an index.

    It may be renamed either way meanwhile, and a file that an update had prepared may have come to its place.
    """
    filesystem, path = filesystem_for(uri)
    output, mark, _ = path.partition(f"/{PREPARED}/")
    in_place = (f"{posixpath.dirname(posixpath.dirname(output))}/{public(posixpath.basename(path))}",) if mark else ()
    for name in (path, superseded(path), private(path), *in_place):
        try:
            return filesystem.open_input_file(name)
        except FileNotFoundError:
            continue
    return filesystem.open_input_file(path)


@contextmanager
def open_parquet(uri: str) -> Iterator[pq.ParquetFile]:
    """Open a part file for reading; see `open_rows` for where it is.

    Raises:
        RequestError: the file is damaged, which may turn out in the block.
    """
    with open_rows(uri) as source:
        try:
            yield pq.ParquetFile(source)
        except pa.ArrowInvalid as error:
            raise RequestError(f"{uri}: is damaged: {one_line(error, 120)}") from error


def read_schema(uri: str) -> pa.Schema:
    """Read the columns of a part file, from its footer.

    Raises:
        RequestError: the file is damaged.
    """
    with open_parquet(uri) as file:
        return file.schema_arrow


def row_count(uri: str) -> int:
    """Count the rows of a part file, from its footer.

    Raises:
        RequestError: the file is damaged.
    """
    with open_parquet(uri) as file:
        return int(file.metadata.num_rows)

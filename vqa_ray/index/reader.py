"""An index of embeddings, opened for reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from vqa_ray.errors import RequestError, RunError
from vqa_ray.index import version as versions
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.vectors import as_matrix, prefetched
from vqa_ray.index.version import IndexFile, Version
from vqa_ray.runs.directory import require_directory
from vqa_ray.runs.part_files import open_rows, read_columns
from vqa_ray.schema import ok_rows

# Columns that are too large to be read with all rows.
LARGE = ("embedding", "thumbnail")
_VECTOR_COLUMNS = ("embedding", "status")


def open_index(uri: str, version: int | None = None, *, label: str = "") -> Index:
    """Open the latest whole version of an index, or a given one, for reading.

    Args:
        uri: of the index.
        version: its number; None for the latest.
        label: what messages begin with, such as `--index URI`; the URI without.

    Raises:
        RequestError: there is no index, none of its versions is whole, or it lacks the version.
    """
    require_directory(label or uri, uri, "an index, which `vqa-ray index` makes")
    layout = IndexDirectory(uri)
    found = versions.latest(layout) if version is None else versions.read(layout, version)
    if found is None:
        raise RequestError(f"{label or uri}: holds no index; expected an output of `vqa-ray index`")
    return Index(layout, found)


class Index:
    """One version of an index; later updates do not change it.

    A *position* is the number of a row in `rows()`: files in the order of the version, rows in the order of their file.
    """

    def __init__(self, layout: IndexDirectory, version: Version) -> None:
        self.uri = layout.uri
        self.layout = layout
        self.version = version
        self._starts = [0, *accumulate(file.rows for file in version.files)]

    def __len__(self) -> int:
        """Return the number of rows, error rows included."""
        return self.version.rows

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return list(self.schema.names)

    @property
    def schema(self) -> pa.Schema:
        """The schema of the files: `vqa_ray.schema.embedding_schema` and the kept columns."""
        with open_rows(self.file_uri(self.version.files[0])) as opened:
            return parquet.read_schema(opened)

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows by position, error rows included.

        Args:
            columns: to read; by default all but the embedding and the thumbnail.

        Raises:
            RequestError: the index lacks a column.
        """
        known = self.columns
        wanted = [name for name in known if name not in LARGE] if columns is None else list(columns)
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise RequestError(f"{self.uri}: no column {unknown[0]!r}; the columns are: {', '.join(known)}")
        tables = [table.select(wanted).replace_schema_metadata(None) for table in self._read(wanted)]
        return pa.concat_tables(tables)

    def vectors(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return the vectors of all rows that have one.

        Returns:
            float32 (N, vectors * dimension), each vector of length 1, and int64 (N,), their positions, ascending.

        Raises:
            RunError: a file does not hold the vectors that the version lists.
        """
        vectors = np.empty((self.version.ok, self.version.width), np.float32)
        positions = np.empty(self.version.ok, np.int64)
        filled = 0
        for start, file, table in zip(self._starts, self.version.files, self._read(_VECTOR_COLUMNS), strict=False):
            rows = ok_rows(table)
            if len(rows) != file.ok:
                raise RunError(f"{self.uri}: {file.path} has {len(rows)} vectors; the index expects {file.ok}")
            vectors[filled : filled + file.ok] = as_matrix(table["embedding"].take(pa.array(rows)), vectors.shape[1])
            positions[filled : filled + file.ok] = start + rows
            filled += file.ok
        return vectors, positions

    def thumbnails(self, positions: Sequence[int]) -> list[bytes | None]:
        """Return the JPEG thumbnails of rows; None for a row without one."""
        return [value.as_py() for value in self.take(positions, ["thumbnail"])["thumbnail"]]

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Read rows by position, in the given order; only row groups that hold them are read.

        Raises:
            IndexError: a position is outside the index.
        """
        wanted = np.asarray(positions, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"positions {wanted.min()} to {wanted.max()} of an index of {len(self)} rows")
        owners = np.searchsorted(self._starts, wanted, side="right") - 1
        parts, order = [], []
        for owner in np.unique(owners):
            numbers = np.flatnonzero(owners == owner)
            rows = wanted[numbers] - self._starts[owner]
            parts.append(self._take_of_file(self.version.files[owner], rows, columns))
            order.append(numbers)
        if not parts:
            return self.rows(columns).slice(0, 0)
        return pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(order))))

    def update_of(self, position: int) -> str:
        """Return the update that read a row: its `source_key` is of the input of that update."""
        return self.version.files[int(np.searchsorted(self._starts, position, side="right")) - 1].update

    def file_uri(self, file: IndexFile) -> str:
        """Return the URI of a file of the version."""
        return self.layout.path(file.path)

    def _take_of_file(self, file: IndexFile, rows: npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        with open_rows(self.file_uri(file)) as opened:
            reader = parquet.ParquetFile(opened)
            sizes = [reader.metadata.row_group(i).num_rows for i in range(reader.metadata.num_row_groups)]
            starts = np.cumsum([0, *sizes])
            groups = np.searchsorted(starts, rows, side="right") - 1
            needed = np.unique(groups)
            table = reader.read_row_groups(needed.tolist(), columns=list(columns)).replace_schema_metadata(None)
        before = np.cumsum([0, *(sizes[group] for group in needed)])
        inside = before[np.searchsorted(needed, groups)] + rows - starts[groups]
        return table.take(pa.array(inside))

    def _read(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read columns of each file, in order, a few files ahead."""
        return prefetched(lambda file: read_columns(self.file_uri(file), columns), self.version.files)

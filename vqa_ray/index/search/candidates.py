"""The rows of an index that can be hits, and their vectors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.index.reader import Index
from vqa_ray.index.search.exact import Block
from vqa_ray.index.search.scoring import Vectors
from vqa_ray.index.search.top_k import Ids
from vqa_ray.index.vectors import as_matrix, prefetched
from vqa_ray.index.version import IndexFile
from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import ok_rows

Mask = npt.NDArray[np.bool_]

# Vectors in memory that are copied at a time.
_ROWS_AT_ONCE = 16_384
# More vectors than this are not kept, but read for every exact search.
_MOST_HELD_BYTES = 2**30


class Candidates:
    """The rows with a vector, each image once: the first of the rows with equal row_id and sha256.

    Args:
        index: to search.
        hold: keep all vectors in memory after the first search, for many searches, up to 1 GiB.
    """

    def __init__(self, index: Index, *, hold: bool = False) -> None:
        self._index = index
        rows = index.rows(["row_id", "status"])
        self.ids: Ids = rows["row_id"].to_numpy()
        """int64 (rows,): the row_id of every row, error rows included."""
        self.with_vector: Mask = np.zeros(rows.num_rows, np.bool_)
        """bool (rows,): rows with a vector."""
        self.with_vector[ok_rows(rows)] = True
        self._repeated = _repeated(index, self.ids, self.with_vector)
        self._hold = hold and 4 * index.version.ok * index.version.width <= _MOST_HELD_BYTES
        self._held: tuple[Vectors, Ids] | None = None

    def mask(self, filter: Mask | None = None) -> Mask:
        """bool (rows,): rows that can be hits.

        Args:
            filter: bool (rows,), the rows to search; None for all.
        """
        mask: Mask = self.with_vector.copy() if filter is None else self.with_vector & filter
        wanted = self._repeated[mask[self._repeated[:, 0]]]
        first = np.unique(wanted[:, 1], return_index=True)[1]
        mask[np.delete(wanted[:, 0], first)] = False
        return mask

    def blocks(self, mask: Mask) -> Iterator[Block]:
        """Yield the rows of a mask with their vectors; a file at a time unless all vectors are kept.

        Args:
            mask: bool (rows,), of rows that have a vector.
        """
        return self._from_memory(mask) if self._hold else self._from_files(mask)

    def _from_memory(self, mask: Mask) -> Iterator[Block]:
        if self._held is None:
            self._held = self._index.vectors()
        embeddings, positions = self._held
        kept = mask[positions]
        if kept.all():
            yield Block(embeddings, self.ids[positions], positions)
            return
        numbers = np.flatnonzero(kept)
        for start in range(0, len(numbers), _ROWS_AT_ONCE):
            some = numbers[start : start + _ROWS_AT_ONCE]
            yield Block(embeddings[some], self.ids[positions[some]], positions[some])

    def _from_files(self, mask: Mask) -> Iterator[Block]:
        version = self._index.version
        starts = accumulate((file.rows for file in version.files), initial=0)
        wanted = {
            file.path: start + np.flatnonzero(mask[start : start + file.rows])
            for file, start in zip(version.files, starts, strict=False)
        }

        def read(file: IndexFile) -> pa.Table:
            positions = wanted[file.path]
            if len(positions) == file.rows:
                return read_columns(self._index.file_uri(file), ["embedding"])
            return self._index.take(positions.tolist(), ["embedding"])

        files = [file for file in version.files if len(wanted[file.path])]
        for file, table in zip(files, prefetched(read, files), strict=True):
            positions = wanted[file.path]
            yield Block(as_matrix(table["embedding"], version.width), self.ids[positions], positions)


def _repeated(index: Index, ids: Ids, ok: Mask) -> npt.NDArray[np.int64]:
    """int64 (T, 2): (position, number of the image) of rows whose row_id and sha256 occur in another row, too."""
    values, counts = np.unique(ids[ok], return_counts=True)
    suspects = np.flatnonzero(ok & np.isin(ids, values[counts > 1]))
    if not len(suspects):
        return np.empty((0, 2), np.int64)
    hashes = index.rows(["sha256"])["sha256"].take(pa.array(suspects)).to_pylist()
    numbers: dict[tuple[int, str | None], int] = {}
    images = [numbers.setdefault((row, sha), len(numbers)) for row, sha in zip(ids[suspects], hashes, strict=True)]
    shared = np.bincount(images)[images] > 1
    return np.stack([suspects, np.array(images, np.int64)], axis=1)[shared]

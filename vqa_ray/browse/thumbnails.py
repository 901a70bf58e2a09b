"""Thumbnails of rows, read from an index."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.index.reader import Index

_NONE = -1
_JPEG = b"\xff\xd8\xff"
_MOST_CACHED = 512


class Thumbnails:
    """Thumbnails by the position of a row. Thread-safe.

    Args:
        index: with the thumbnails; None for no thumbnails.
        positions: int64 (N,), the position of each row in the index, -1 for none.
    """

    def __init__(self, index: Index | None = None, positions: npt.NDArray[np.int64] | None = None) -> None:
        self._index = index
        self._positions = np.empty(0, np.int64) if positions is None else positions
        self._cached: OrderedDict[int, bytes | None] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of_rows(cls, index: Index, rows: pa.Table) -> Thumbnails:
        """Thumbnails for the rows of a run, matched to an index by row_id, else by image_id."""
        if "thumbnail" not in index.columns:
            return cls()
        known = index.rows(["row_id", "image_id"])
        by_row = pc.index_in(rows["row_id"], value_set=known["row_id"].combine_chunks())
        by_image = pc.index_in(rows["image_id"], value_set=known["image_id"].combine_chunks(), skip_nulls=True)
        positions = pc.fill_null(pc.cast(pc.coalesce(by_row, by_image), pa.int64()), _NONE)
        return cls(index, positions.to_numpy())

    @property
    def found(self) -> int:
        """The number of rows that are in the index."""
        return int(np.count_nonzero(self._positions != _NONE))

    def of(self, positions: Sequence[int]) -> list[bytes | None]:
        """Return the JPEG of each row, None for a row without one; the rows of a page are read together and cached.

        Raises:
            IndexError: a position is outside the rows.
        """
        if self._index is None:
            return [None] * len(positions)
        rows = [int(self._positions[position]) for position in positions if position >= 0]
        with self._lock:
            known = {row: self._cached[row] for row in rows if row in self._cached}
        missing = sorted({row for row in rows if row not in known and row != _NONE})
        if missing:
            # An index may hold anything there; only JPEG is served as a picture.
            read = [data if data and data.startswith(_JPEG) else None for data in self._index.thumbnails(missing)]
            known |= dict(zip(missing, read, strict=True))
            with self._lock:
                self._cached.update(zip(missing, read, strict=True))
                while len(self._cached) > _MOST_CACHED:
                    self._cached.popitem(last=False)
        return [known.get(row) for row in rows]

    def sizes(self, positions: Sequence[int]) -> list[tuple[int, int] | None]:
        """(height, width) in pixels of the images of rows; None where unknown."""
        known: list[tuple[int, int] | None] = [None] * len(positions)
        if self._index is None:
            return known
        rows = ((number, int(self._positions[position])) for number, position in enumerate(positions))
        wanted = [(number, row) for number, row in rows if row != _NONE]
        table = self._index.take([row for _, row in wanted], ["height", "width"])
        for (number, _), height, width in zip(
            wanted, table["height"].to_pylist(), table["width"].to_pylist(), strict=True
        ):
            if height and width:
                known[number] = (height, width)
        return known

"""The pictures of rows: thumbnails that an index holds."""

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
_HELD = 512


class Thumbnails:
    """Thumbnails by the position of a row. Safe to use from several threads.

    Args:
        index: what holds them; None for no pictures.
        places: int64 (N,), of each row its position in the index, -1 for none.
    """

    def __init__(self, index: Index | None = None, places: npt.NDArray[np.int64] | None = None) -> None:
        self._index = index
        self._places = np.empty(0, np.int64) if places is None else places
        self._held: OrderedDict[int, bytes | None] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of_rows(cls, index: Index, rows: pa.Table) -> Thumbnails:
        """The pictures of the rows of a run: those of the same row_id in the index, else of the same image_id."""
        if "thumbnail" not in index.columns:
            return cls()
        known = index.rows(["row_id", "image_id"])
        by_row = pc.index_in(rows["row_id"], value_set=known["row_id"].combine_chunks())
        by_image = pc.index_in(rows["image_id"], value_set=known["image_id"].combine_chunks(), skip_nulls=True)
        places = pc.fill_null(pc.cast(pc.coalesce(by_row, by_image), pa.int64()), _NONE)
        return cls(index, places.to_numpy())

    @property
    def found(self) -> int:
        """How many rows are in the index."""
        return int(np.count_nonzero(self._places != _NONE))

    def of(self, positions: Sequence[int]) -> list[bytes | None]:
        """The JPEG of each row, None where it has none; those of a page are read together and held for a while.

        Raises:
            IndexError: a position is outside the rows.
        """
        if self._index is None:
            return [None] * len(positions)
        places = [int(self._places[position]) for position in positions if position >= 0]
        with self._lock:
            known = {place: self._held[place] for place in places if place in self._held}
        missing = sorted({place for place in places if place not in known and place != _NONE})
        if missing:
            # Whatever an index holds there: nothing but JPEG leaves as a picture.
            read = [data if data and data.startswith(_JPEG) else None for data in self._index.thumbnails(missing)]
            known |= dict(zip(missing, read, strict=True))
            with self._lock:
                self._held.update(zip(missing, read, strict=True))
                while len(self._held) > _HELD:
                    self._held.popitem(last=False)
        return [known.get(place) for place in places]

    def sizes(self, positions: Sequence[int]) -> list[tuple[int, int] | None]:
        """(height, width) in pixels of the images that the pictures are of; None where that is not known."""
        found: list[tuple[int, int] | None] = [None] * len(positions)
        if self._index is None:
            return found
        places = [(at, int(self._places[position])) for at, position in enumerate(positions)]
        wanted = [(at, place) for at, place in places if place != _NONE]
        table = self._index.take([place for _, place in wanted], ["height", "width"])
        for (at, _), height, width in zip(wanted, table["height"].to_pylist(), table["width"].to_pylist(), strict=True):
            if height and width:
                found[at] = (height, width)
        return found

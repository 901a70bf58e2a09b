"""One file of a cache: sorted entries in row groups, of which only those are read that may hold a key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet as pq

from vqa_ray.cache.directory import opened
from vqa_ray.cache.entries import FILE
from vqa_ray.cache.keys import KEY_BYTES

# Keys in the order of their bytes. NumPy drops zeros at the end when it gives one out, not when it compares.
KeyArray = npt.NDArray[np.bytes_]

# What a file that is damaged or of something else raises.
UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError)


def as_keys(keys: Sequence[bytes]) -> KeyArray:
    """Return keys as an array that sorts and compares by bytes."""
    return np.frombuffer(b"".join(keys), f"S{KEY_BYTES}")


class EntryFile:
    """Reads parts of a file of entries; holds its footer.

    Args:
        uri: of the file.

    Raises:
        FileNotFoundError: it is gone.
        pyarrow.ArrowException, OSError, ValueError: it is damaged or holds something else.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with opened(uri) as source:
            file = pq.ParquetFile(source)
            if not file.schema_arrow.equals(FILE):
                raise ValueError("holds no entries of a cache")
            self._metadata = file.metadata
        statistics = [self._metadata.row_group(i).column(0).statistics for i in range(self._metadata.num_row_groups)]
        if not all(each is not None and each.has_min_max for each in statistics):
            raise ValueError("its footer does not say which keys it holds")
        self.first = as_keys([each.min for each in statistics])
        self.last = as_keys([each.max for each in statistics])

    def groups_of(self, keys: KeyArray) -> list[tuple[int, slice]]:
        """Return the row groups that may hold one of these keys, which are sorted, and which keys those are."""
        low, high = np.searchsorted(keys, self.first, "left"), np.searchsorted(keys, self.last, "right")
        return [(group, slice(low[group], high[group])) for group in np.flatnonzero(low < high).tolist()]

    def keys(self, group: int) -> KeyArray:
        """Read the keys of a row group, in order.

        Raises:
            ValueError: they are not in order, or not between those that the footer names.
        """
        column = self.read(group, ["key"])["key"].combine_chunks()
        buffer = column.buffers()[1]
        found: KeyArray = np.frombuffer(buffer, f"S{KEY_BYTES}", len(column), column.offset * KEY_BYTES)
        ends = self.first[group], self.last[group]
        if not len(found) or (found[0], found[-1]) != ends or not np.all(found[:-1] < found[1:]):
            raise ValueError("its keys are not in order")
        return found

    def read(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a row group, or some of its columns."""
        with opened(self.uri) as source:
            return pq.ParquetFile(source, metadata=self._metadata).read_row_group(group, columns=columns)

"""The columns of an index and of a tag run beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.index.reader import LARGE, Index
from vqa_ray.index.search.filter import Mask, matching
from vqa_ray.index.search.tags import JoinedTags, join_tags


class IndexRows:
    """The columns of an index and of a tag run over the same images; read at first use.

    Args:
        index: with the rows.
        tags: URI of a finished run of `tag`; None for none.

    Raises:
        RequestError: `tags` is no finished run of `tag`.
    """

    def __init__(self, index: Index, tags: str | None = None) -> None:
        self._index = index
        self._rows: pa.Table | None = None
        self.tagged: JoinedTags | None = None
        """The tags; None without a tag run."""
        if tags is not None:
            self._rows = index.rows()
            self.tagged = join_tags(self._rows, tags)
            for name in self.tagged.columns.column_names:
                self._rows = self._rows.append_column(name, self.tagged.columns[name])

    def matching(self, condition: str) -> Mask:
        """bool (rows,), by position: rows that match a SQL condition; see `filter.matching`."""
        if self._rows is None:
            self._rows = self._index.rows()
        return matching(self._rows, condition)

    def take(self, positions: Sequence[int] | npt.NDArray[np.int64]) -> pa.Table:
        """All columns of rows by position, in the given order."""
        wanted = np.asarray(positions, np.int64)
        if self._rows is None:
            return self._index.take(wanted.tolist(), [name for name in self._index.columns if name not in LARGE])
        return self._rows.take(pa.array(wanted))

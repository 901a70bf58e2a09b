"""Vectors of the Parquet files of an index, and reading several files ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_FILES_AT_ONCE = 8

F = TypeVar("F")


def prefetched(read: Callable[[F], pa.Table], files: Sequence[F]) -> Iterator[pa.Table]:
    """Yield `read(file)` for each file, in order, while threads read the next few files; memory is bounded."""
    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="index") as pool:
        further = iter(files)
        ahead = [pool.submit(read, file) for file in islice(further, _FILES_AT_ONCE)]
        while ahead:
            table = ahead.pop(0).result()
            ahead += [pool.submit(read, file) for file in islice(further, 1)]
            yield table
            del table


def as_matrix(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.float32]:
    """Return an `embedding` column without nulls as float32 (N, width)."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix: npt.NDArray[np.float32] = values.reshape(-1, width)
    return matrix

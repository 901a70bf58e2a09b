"""Raw pixels where they lie in a DECODED table."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def pixel_views(pixels: pa.ChunkedArray) -> list[npt.NDArray[np.uint8]]:
    """The bytes of each row in place, read-only; an Arrow scalar would be a copy.

    Args:
        pixels: large_binary, however it was cut into chunks.

    Returns:
        uint8 (H · W · 3,) of each row; of length 0 where it is null.
    """
    views: list[npt.NDArray[np.uint8]] = []
    for chunk in pixels.chunks:
        if len(chunk):
            _, offset_buffer, value_buffer = chunk.buffers()
            offsets = np.frombuffer(offset_buffer, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
            values = np.frombuffer(value_buffer or b"", np.uint8)
            views += [values[start:stop] for start, stop in itertools.pairwise(offsets)]
    return views

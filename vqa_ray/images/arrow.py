"""Raw pixels in a DECODED table: read in place, and written into one buffer."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def pixel_views(pixels: pa.ChunkedArray) -> list[npt.NDArray[np.uint8]]:
    """Return the bytes of each row in place, read-only; an Arrow scalar would be a copy.

    Args:
        pixels: large_binary, in any number of chunks.

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


def pixel_column(
    images: Iterable[npt.NDArray[np.uint8]], sizes: npt.NDArray[np.int64], absent: npt.NDArray[np.bool_]
) -> pa.Array:
    """Copy images into a large_binary column of one buffer, one after the other, so that the caller can let each go.

    Args:
        images: uint8 of any shape, one per row; empty where it is absent.
        sizes: int64 (N,), the bytes of each.
        absent: bool (N,), the rows that are null.
    """
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    values = np.empty(int(offsets[-1]), np.uint8)
    for row, image in enumerate(images):
        values[offsets[row] : offsets[row + 1]] = image.reshape(-1)
    buffers = [pa.array(~absent).buffers()[1], pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.large_binary(), len(sizes), buffers, int(absent.sum()))


def shown_images(table: pa.Table) -> list[list[npt.NDArray[np.uint8]]]:
    """Return the images of each row of a DECODED table in order, uint8 (H, W, 3) each; none of a row without any."""
    views = pixel_views(table["pixels"])
    heights, widths, further = (table[name].to_pylist() for name in ("height", "width", "extra_images"))
    return [
        []
        if height is None
        else [
            view.reshape(height, width, 3),
            *(np.frombuffer(e["pixels"], np.uint8).reshape(e["height"], e["width"], 3) for e in others or ()),
        ]
        for view, height, width, others in zip(views, heights, widths, further, strict=True)
    ]

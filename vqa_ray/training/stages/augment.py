"""DECODED rows of training → the same rows with their images varied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.images.arrow import pixel_views
from vqa_ray.training.data.randaugment import OPERATIONS, RandAugment, row_generator


class AugmentImages:
    """Varies the image of each row by `RandAugment`; sizes stay.

    What happens to a row is told by the seed, the row and its step: in the next epoch it is varied in another way, and
    after a restart in the same way.
    """

    def __init__(
        self, seed: int, num_ops: int = 2, magnitude: int = 9, *, operations: Sequence[str] = OPERATIONS
    ) -> None:
        """
        Args:
            seed: of all draws.
            num_ops, magnitude, operations: see `RandAugment`.

        Raises:
            RequestError: see `RandAugment`.
        """
        self._seed = seed
        self._augment = RandAugment(num_ops, magnitude, tuple(operations))

    def __call__(self, table: pa.Table) -> pa.Table:
        """
        Args:
            table: DECODED columns, then kept ones with `step`.

        Returns:
            The same columns and rows, in order. Rows of one image differ from now on although their image_key is equal.
        """
        if table.num_rows == 0:
            return table
        views = pixel_views(table["pixels"])
        offsets = np.zeros(table.num_rows + 1, np.int64)
        np.cumsum([len(view) for view in views], out=offsets[1:])
        values = np.empty(int(offsets[-1]), np.uint8)
        columns = [table[name].to_pylist() for name in ("status", "step", "source_key", "height", "width")]
        for row, (status, step, key, height, width) in enumerate(zip(*columns, strict=True)):
            pixels = views[row]
            if status == schema.STATUS_OK:
                image = pixels.reshape(height, width, 3)
                pixels = self._augment(image, row_generator(self._seed, step, key)).reshape(-1)
            values[offsets[row] : offsets[row + 1]] = pixels
        absent = table["pixels"].is_null().to_numpy()
        buffers = [pa.array(~absent).buffers()[1], pa.py_buffer(offsets), pa.py_buffer(values)]
        column = pa.Array.from_buffers(pa.large_binary(), table.num_rows, buffers, int(absent.sum()))
        return table.set_column(table.schema.get_field_index("pixels"), table.schema.field("pixels"), column)

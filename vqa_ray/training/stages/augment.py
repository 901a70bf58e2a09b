"""DECODED rows of training → the same rows with their images varied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.images.arrow import pixel_column, pixel_views
from vqa_ray.training.data.randaugment import OPERATIONS, RandAugment, row_generator


class AugmentImages:
    """Varies the image of each row by `RandAugment`; sizes stay.

    The seed, the row and its step decide how a row is varied: in another way in the next epoch, in the same way after a
    restart.
    """

    def __init__(
        self, seed: int, num_ops: int = 2, magnitude: int = 9, *, operations: Sequence[str] = OPERATIONS
    ) -> None:
        """Make the stage.

        Args:
            seed: of all draws.
            num_ops: operations per image, see `RandAugment`.
            magnitude: their strength.
            operations: to draw from.

        Raises:
            RequestError: see `RandAugment`.
        """
        self._seed = seed
        self._augment = RandAugment(num_ops, magnitude, tuple(operations))

    def __call__(self, table: pa.Table) -> pa.Table:
        """Vary the images of rows.

        Args:
            table: DECODED columns, then kept ones with `step`.

        Returns:
            The same columns and rows, in order. Rows of one image differ from now on although their image_key is equal.
        """
        if table.num_rows == 0:
            return table
        views = pixel_views(table["pixels"])
        sizes = np.array([len(view) for view in views], np.int64)
        column = pixel_column(self._varied(table, views), sizes, table["pixels"].is_null().to_numpy())
        return table.set_column(table.schema.get_field_index("pixels"), table.schema.field("pixels"), column)

    def _varied(self, table: pa.Table, views: Sequence[npt.NDArray[np.uint8]]) -> Iterator[npt.NDArray[np.uint8]]:
        columns = [table[name].to_pylist() for name in ("status", "step", "source_key", "height", "width")]
        for pixels, status, step, key, height, width in zip(views, *columns, strict=True):
            if status == schema.STATUS_OK:
                yield self._augment(pixels.reshape(height, width, 3), row_generator(self._seed, step, key))
            else:
                yield pixels

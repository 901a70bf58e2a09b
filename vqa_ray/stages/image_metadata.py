"""The metadata of an image in an index: the hash of its bytes, and a thumbnail."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.images.arrow import pixel_views
from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.images.thumbnail import thumbnail, thumbnail_size
from vqa_ray.storage.uri import redacted_uri

# The columns that `DescribeImages` adds to a DECODED table, after the kept columns.
METADATA_COLUMNS = ("sha256", "thumbnail")


class DescribeImages:
    """Adds the columns `sha256` and `thumbnail` to a DECODED table.

    A thumbnail is made once per distinct image of a batch: from the model's pixels if they are large enough, otherwise
    from the file again.

    Args:
        limits: of an image, the same as for decoding.
        thumbnails: make them; null otherwise.
    """

    def __init__(self, limits: ImageLimits | None = None, *, thumbnails: bool = True) -> None:
        self._limits = limits or ImageLimits()
        self._thumbnails = thumbnails

    def __call__(self, fetched: pa.Table, decoded: pa.Table) -> pa.Table:
        """Describe the images of a table.

        Args:
            fetched: the READ table with the bytes of its images.
            decoded: the DECODED table made from it: the same rows, in order.

        Returns:
            `decoded` with the two columns at its end, filled for error rows too as far as the values are known.
        """
        images = fetched["image"]
        data = (images[row].as_py() for row in range(fetched.num_rows))
        hashes = [None if file is None else hashlib.sha256(file).hexdigest() for file in data]
        if self._thumbnails:
            decoded, thumbnails = self._with_thumbnails(fetched, decoded)
        else:
            thumbnails = [None] * decoded.num_rows
        columns = (pa.array(hashes, pa.string()), pa.array(thumbnails, pa.binary()))
        for name, column in zip(METADATA_COLUMNS, columns, strict=True):
            decoded = decoded.append_column(name, column)
        return decoded

    def _with_thumbnails(self, fetched: pa.Table, decoded: pa.Table) -> tuple[pa.Table, list[bytes | None]]:
        """Return the table, with rows marked as failed whose thumbnail failed, and a thumbnail per row."""
        keys, tall, wide = (decoded[name].to_pylist() for name in ("image_key", "height", "width"))
        heights, widths = (decoded[name].to_pylist() for name in ("source_height", "source_width"))
        views = pixel_views(decoded["pixels"])
        made: dict[int, bytes | RowError] = {}
        failures: dict[int, RowError] = {}
        thumbnails: list[bytes | None] = [None] * decoded.num_rows
        for row, key in enumerate(keys):
            if key is None:
                continue
            if key not in made:
                size = thumbnail_size(heights[row], widths[row])
                if tall[row] >= size[0] and wide[row] >= size[1]:
                    made[key] = thumbnail(views[row].reshape(tall[row], wide[row], 3), *size)
                else:
                    made[key] = self._from_file(fetched["image"][row].as_py())
            outcome = made[key]
            if isinstance(outcome, RowError):
                uri = fetched["image_uri"][row].as_py()
                failures[row] = RowError(outcome.code, f"{redacted_uri(uri)}: {outcome.message}") if uri else outcome
            else:
                thumbnails[row] = outcome
        return schema.mark_failed(decoded, failures), thumbnails

    def _from_file(self, data: bytes) -> bytes | RowError:
        try:
            pixels = decode_resized(data, self._limits, thumbnail_size, fast=True)
        except RowError as error:
            # The file was decoded a moment ago, so this happens only when memory runs short.
            return RowError(error.code, f"thumbnail: {error.message}")
        return thumbnail(pixels, *pixels.shape[:2])

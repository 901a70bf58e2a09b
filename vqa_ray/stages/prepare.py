"""Fetching, decoding and describing as one stage, which a CPU task runs on a block of rows."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray.process import release_memory
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.first_opinion import carry_images
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.join_images import JoinImages

EMBEDDED = "embedded:image"
"""The column of encoded images that an output takes over, because nothing else holds them."""


class PrepareImages:
    """READ rows → DECODED rows.

    Args:
        fetch: gets the bytes of referenced images.
        decode: turns bytes into pixels.
        describe: adds columns of image metadata; None adds none.
        carry: pass the encoded images on, for a second model; see `carry_images`.
        join: finds the images of rows that hold none; None for rows that do.
        embedded: pass on, as `EMBEDDED`, the encoded images of rows that name none.
    """

    def __init__(
        self,
        fetch: FetchImages,
        decode: DecodeImages,
        describe: DescribeImages | None = None,
        *,
        carry: bool = False,
        join: JoinImages | None = None,
        embedded: bool = False,
    ) -> None:
        self._fetch = fetch
        self._decode = decode
        self._describe = describe
        self._carry = carry
        self._join = join
        self._embedded = embedded

    def __call__(self, table: pa.Table) -> pa.Table:
        """Prepare a READ table with kept columns: as many rows, in the same order."""
        if self._join is not None:
            table = self._join(table)
        if self._embedded:
            table = table.append_column(EMBEDDED, table["image"])
        fetched = self._fetch(carry_images(table) if self._carry else table)
        decoded = self._decode(fetched)
        if self._describe is not None:
            decoded = self._describe(fetched, decoded)
        del fetched
        release_memory()
        return decoded

"""Fetching, decoding and describing as one stage, which a CPU task runs on a block of rows."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray.process import release_memory
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.image_metadata import DescribeImages


class PrepareImages:
    """READ rows → DECODED rows.

    Args:
        fetch: gets the bytes of referenced images.
        decode: turns bytes into pixels.
        describe: adds columns of image metadata; None adds none.
    """

    def __init__(self, fetch: FetchImages, decode: DecodeImages, describe: DescribeImages | None = None) -> None:
        self._fetch = fetch
        self._decode = decode
        self._describe = describe

    def __call__(self, table: pa.Table) -> pa.Table:
        """Prepare a READ table with kept columns: as many rows, in the same order."""
        fetched = self._fetch(table)
        decoded = self._decode(fetched)
        if self._describe is not None:
            decoded = self._describe(fetched, decoded)
        del fetched
        release_memory()
        return decoded

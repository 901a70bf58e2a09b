"""Fetching and decoding as one stage: what a CPU task does to a block of rows."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray.process import release_memory
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.image_metadata import DescribeImages


class PrepareImages:
    """READ rows → DECODED rows.

    Args:
        fetch: brings the bytes of images that rows refer to.
        decode: turns bytes into pixels.
        describe: adds what else is to be known of the images; None adds nothing.
    """

    def __init__(self, fetch: FetchImages, decode: DecodeImages, describe: DescribeImages | None = None) -> None:
        self._fetch = fetch
        self._decode = decode
        self._describe = describe

    def __call__(self, table: pa.Table) -> pa.Table:
        """As many rows, in order, kept columns included."""
        fetched = self._fetch(table)
        decoded = self._decode(fetched)
        if self._describe is not None:
            decoded = self._describe(fetched, decoded)
        del fetched
        release_memory()
        return decoded

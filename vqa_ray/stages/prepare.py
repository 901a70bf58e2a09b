"""Fetching and decoding as one stage: what a CPU task does to a block of rows."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.process import release_memory


class PrepareImages:
    """READ rows → DECODED rows.

    Args:
        fetch: brings the bytes of images that rows refer to.
        decode: turns bytes into pixels.
    """

    def __init__(self, fetch: FetchImages, decode: DecodeImages) -> None:
        self._fetch = fetch
        self._decode = decode

    def __call__(self, table: pa.Table) -> pa.Table:
        """As many rows, in order, kept columns included."""
        decoded = self._decode(self._fetch(table))
        release_memory()
        return decoded

"""Pictures of rows made from the images themselves, where rows say where these are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decode import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.report.card import THUMBNAIL_SIDE, thumbnail, upright_size
from vqa_ray.schema import STATUS_OK

LARGE_SIDE = 1280
# Of small and large pictures together.
_HELD_BYTES = 64 * 2**20
# Images that are decoded at once; each may take some hundred MiB.
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Copy:
    """A small JPEG of an image, and the image's (height, width) in pixels."""

    data: bytes = field(repr=False)
    size: tuple[int, int]


class Originals:
    """Reads images by the position of a row, and nothing but the `image_uri` that stands there. Thread-safe.

    What leaves is a JPEG that was made here, never the bytes that were read.

    Args:
        rows: N rows; without a column `image_uri` there are no pictures.
        fetch: reads an image by its URI within limits; raises RowError.
    """

    def __init__(self, rows: pa.Table | None = None, fetch: Callable[[str], bytes] | None = None) -> None:
        known = rows is not None and "image_uri" in rows.column_names
        self._uris = rows["image_uri"] if rows is not None and known else None
        self._codes = rows["error_code"] if rows is not None and known else None
        sound = None if rows is None else rows.filter(pc.equal(rows["status"], STATUS_OK))
        self._missing = 0 if sound is None else sound["image_uri"].null_count if known else sound.num_rows
        self._fetch = fetch or ImageFetcher(ImageLimits().max_image_bytes).fetch
        self._held: OrderedDict[tuple[str, int], Copy] = OrderedDict()
        self._held_bytes = 0
        self._lock = threading.Lock()
        self._gate = threading.Semaphore(_AT_ONCE)

    @property
    def missing(self) -> int:
        """How many rows that are in order do not say where their image is."""
        return self._missing

    def has(self, position: int) -> bool:
        """Whether there may be a picture of a row: it has a URI, and reading it did not fail in the run."""
        if self._uris is None or self._codes is None or not self._uris[position].as_py():
            return False
        return not (self._codes[position].as_py() or "").startswith("image_")

    def copy(self, position: int, side: int = THUMBNAIL_SIDE) -> Copy:
        """The image of a row, its longer side at most `side` pixels.

        Raises:
            RowError: it cannot be had.
        """
        if not self.has(position):
            raise RowError(ErrorCode.IMAGE_MISSING, "the row does not say where its image is")
        assert self._uris is not None
        key = (str(self._uris[position].as_py()), side)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        with self._gate:
            made = self._made(key[0], side)
        with self._lock:
            if key not in self._held:
                self._held[key] = made
                self._held_bytes += len(made.data)
            while self._held_bytes > _HELD_BYTES:
                self._held_bytes -= len(self._held.popitem(last=False)[1].data)
        return made

    def sizes(self, positions: Sequence[int]) -> list[tuple[int, int] | None]:
        """(height, width) in pixels of the images of rows; None where they cannot be had."""

        def size(position: int) -> tuple[int, int] | None:
            try:
                return self.copy(position).size
            except RowError:
                return None

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(size, positions))

    def _made(self, uri: str, side: int) -> Copy:
        data = self._fetch(uri)
        size, small = upright_size(data), thumbnail(data, side)
        if size is None or small is None:
            raise RowError(ErrorCode.IMAGE_UNDECODABLE, "what is stored there is no image that can be shown")
        return Copy(small, size)

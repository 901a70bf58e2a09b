"""Previews of the images of rows, made of the images themselves."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.browse.embedded import EmbeddedImages, ReadImage
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.thumbnail import PREVIEW_SIDE, Preview
from vqa_ray.images.thumbnail import preview as make_preview

LARGE_SIDE = 1280
# Of all previews that are kept.
_KEPT_BYTES = 64 * 2**20
# An error that is kept counts as so many bytes.
_ERROR_BYTES = 1_000
# Images that are decoded at once; each may take some hundred MiB.
_AT_ONCE = 4

# A URI, or the position of a row with an embedded image; and the longest side of the preview.
_Key: TypeAlias = tuple[str | int, int]


class Originals:
    """Reads images by the position of a row: from its `image_uri`, or from the input that holds it. Thread-safe.

    What leaves is a JPEG that was made here, never the bytes that were read.

    Args:
        rows: N rows.
        fetch: reads an image by its URI within limits; raises RowError.
        embedded: the images of rows without a URI; None where they cannot be read again.
    """

    def __init__(
        self, rows: pa.Table, fetch: Callable[[str], bytes] | None = None, embedded: EmbeddedImages | None = None
    ) -> None:
        has_uris = "image_uri" in rows.column_names
        self._uris = rows["image_uri"] if has_uris else pa.chunked_array([pa.nulls(rows.num_rows, pa.string())])
        codes = pc.fill_null(rows["error_code"], "")
        self._available = pc.and_not(
            pc.or_(pc.is_valid(self._uris), pa.scalar(embedded is not None)), pc.starts_with(codes, "image_")
        )
        self._fetch = fetch or ImageFetcher(ImageLimits().max_image_bytes).fetch
        self._embedded = embedded
        self._expected: tuple[int, ...] = ()
        self._kept: OrderedDict[_Key, Preview | RowError] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()
        self._gate = threading.Semaphore(_AT_ONCE)
        self._reading = threading.Lock()

    def has(self, position: int) -> bool:
        """Whether a row may have a preview: its image can be looked for, and was not in error in the run."""
        return bool(self._available[position].as_py())

    def expect(self, positions: Sequence[int]) -> None:
        """Name the rows of a page. The embedded images of a page are read together, each file once."""
        self._expected = tuple(positions)

    def preview(self, position: int, side: int = PREVIEW_SIDE) -> Preview:
        """Return the image of a row, its longer side at most `side` pixels.

        Raises:
            RowError: the image is not available.
        """
        if not self.has(position):
            raise RowError(ErrorCode.IMAGE_MISSING, "the row does not say where its image is")
        uri = self._uris[position].as_py()
        key = (uri or position, side)
        found = self._recall(key)
        if found is None:
            found = self._fetched(key, uri) if uri else self._reread(key, position)
        if isinstance(found, RowError):
            raise RowError(found.code, found.message)
        return found

    def read(self, position: int) -> bytes:
        """Return the encoded image of a row, as its input holds it.

        Raises:
            RowError: the image is not available.
        """
        if not self.has(position):
            raise RowError(ErrorCode.IMAGE_MISSING, "the row does not say where its image is")
        uri = self._uris[position].as_py()
        if uri:
            return self._fetch(uri)
        assert self._embedded is not None
        with self._reading:
            found = dict(self._embedded.read([position])).get(position)
        if isinstance(found, bytes):
            return found
        raise found or RowError(ErrorCode.IMAGE_MISSING, "the image is not where it was")

    def sizes(self, positions: Sequence[int]) -> list[tuple[int, int] | None]:
        """(height, width) in pixels of the images of rows; None where an image is not available."""

        def size(position: int) -> tuple[int, int] | None:
            try:
                return self.preview(position).size
            except RowError:
                return None

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(size, positions))

    def _fetched(self, key: _Key, uri: str) -> Preview:
        with self._gate:
            made = make_preview(self._fetch(uri), key[1])
        self._keep(key, made)
        return made

    def _reread(self, key: _Key, position: int) -> Preview | RowError:
        """Read an embedded image, and with it those of the page; one reading at a time."""
        assert self._embedded is not None
        side = key[1]
        with self._reading:
            preview_or_error = self._recall(key)
            if preview_or_error is not None:
                return preview_or_error
            others = self._expected if side == PREVIEW_SIDE else ()
            wanted = dict.fromkeys(
                each
                for each in others
                if self.has(each) and not self._uris[each].is_valid and (each, side) not in self._kept
            )
            for each, image in self._embedded.read(list({position: None, **wanted})):
                made = _preview_or_error(image, side)
                self._keep((each, side), made)
                preview_or_error = made if each == position else preview_or_error
        return preview_or_error or RowError(ErrorCode.IMAGE_MISSING, "the image is not where it was")

    def _recall(self, key: _Key) -> Preview | RowError | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: _Key, made: Preview | RowError) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._kept_bytes += _bytes_of(made)
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= _bytes_of(self._kept.popitem(last=False)[1])


def _bytes_of(made: Preview | RowError) -> int:
    return _ERROR_BYTES if isinstance(made, RowError) else len(made.jpeg)


def _preview_or_error(image: ReadImage, side: int) -> Preview | RowError:
    if isinstance(image, RowError):
        return image
    try:
        return make_preview(image, side)
    except RowError as error:
        return RowError(error.code, error.message)

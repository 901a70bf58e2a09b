"""READ rows → DECODED rows: encoded bytes become raw pixels of the size that the model wants."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decode import ImageLimits
from vqa_ray.images.sized import SizedImage, decode_sized
from vqa_ray.process import prepare_for_decoding
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.isolated_decoder import IsolatedDecoder
from vqa_ray.storage.filesystem import redacted_uri
from vqa_ray.types import ImageTransform

logger = logging.getLogger(__name__)

_KEY_BYTES = 8
_SIZES = ("height", "width", "source_height", "source_width")
_REPLACED = ("image_key", "pixels", *_SIZES, "extra_images", *(field.name for field in schema.STATUS))

Decoder = Callable[[bytes], SizedImage]


class DecodeImages:
    """Decodes, turns upright and resizes the image of each row, or all its images.

    An image that several rows of a batch bring is decoded once. Rows in error pass through; what cannot be decoded
    becomes an error row. If a process died over the same batch before, its images are decoded in a child process, and
    the one that kills it becomes a `row_crashed` row.
    """

    def __init__(
        self,
        transform: ImageTransform,
        limits: ImageLimits | None = None,
        *,
        fast_decode: bool = False,
        run_id: str = "run",
        journal: CrashJournal | None = None,
    ) -> None:
        """
        Args:
            transform: the size that the model wants.
            limits: what an image may cost.
            fast_decode: whether JPEG may be decoded at a fraction of its size that still covers the target.
            run_id: under which the batches in work are noted on the local disk.
            journal: where they are noted; made from `run_id` by default.
        """
        self._transform = transform
        self._limits = limits or ImageLimits()
        self._fast = fast_decode
        self._journal = journal or CrashJournal(run_id)

    def __call__(self, table: pa.Table) -> pa.Table:
        """
        Args:
            table: READ columns, then kept columns.

        Returns:
            As many rows, in order: DECODED columns, then the same kept columns.
        """
        kept = [field for field in table.schema if field.name not in schema.READ.names]
        result_schema = schema.with_kept(schema.DECODED, kept)
        if table.num_rows == 0:
            return result_schema.empty_table()
        prepare_for_decoding()
        first_key = table["source_key"][0].as_py()
        with self._journal.batch(first_key) as died_before:
            if not died_before:
                batch = _Batch(table, self._decode)
            else:
                logger.warning("A process died over the batch at source_key %d: decoding it in isolation", first_key)
                with IsolatedDecoder(self._transform, self._limits, self._fast) as decoder:
                    batch = _Batch(table, decoder.decode)
        columns = batch.columns()
        return pa.Table.from_arrays(
            [columns[name] if name in _REPLACED else table[name] for name in result_schema.names], schema=result_schema
        )

    def _decode(self, data: bytes) -> SizedImage:
        return decode_sized(data, self._limits, self._transform, fast=self._fast)


class _Batch:
    """The rows of one batch after decoding: per row a reference to distinct pixels, or an error."""

    def __init__(self, table: pa.Table, decode: Decoder) -> None:
        self._status: list[str] = table["status"].to_pylist()
        self._codes: list[str | None] = table["error_code"].to_pylist()
        self._messages: list[str | None] = table["error_message"].to_pylist()
        self._keys: list[int | None] = [None] * table.num_rows
        self._further: dict[int, list[int]] = {}
        self._decoded: dict[int, SizedImage | RowError] = {}
        self._last_row: dict[int, int] = {}
        uris: list[str | None] = table["image_uri"].to_pylist()
        images, extra = table["image"], table["extra_images"]
        for row, (status, uri) in enumerate(zip(self._status, uris, strict=True)):
            if status == schema.STATUS_OK:
                further = extra[row].as_py() or ()
                shown = [(images[row].as_py(), uri), *((each["image"], each["image_uri"]) for each in further)]
                self._decode_row(row, shown, decode)

    def _decode_row(self, row: int, shown: Sequence[tuple[bytes | None, str | None]], decode: Decoder) -> None:
        keys = []
        for place, (data, uri) in enumerate(shown, start=1):
            found = self._decode_image(data, uri, decode)
            if isinstance(found, RowError):
                self._fail(row, found, uri or (f"image {place} of {len(shown)}" if len(shown) > 1 else None))
                return
            keys.append(found)
        self._keys[row] = keys[0]
        self._last_row[keys[0]] = row
        if keys[1:]:
            self._further[row] = keys[1:]

    def _decode_image(self, data: bytes | None, uri: str | None, decode: Decoder) -> int | RowError:
        """The key of an image that `_decoded` now holds."""
        if data is None:
            message = "the image was not fetched" if uri else "the row has neither image bytes nor an image URI"
            return RowError(ErrorCode.IMAGE_MISSING, message)
        key = image_key(data)
        if key not in self._decoded:
            try:
                self._decoded[key] = decode(data)
            except RowError as error:
                # A fresh one: the frames of its traceback and causes would keep half-decoded images alive.
                self._decoded[key] = RowError(error.code, error.message)
        outcome = self._decoded[key]
        return outcome if isinstance(outcome, RowError) else key

    def _fail(self, row: int, error: RowError, image: str | None) -> None:
        named = error if not image else RowError(error.code, f"{redacted_uri(image)}: {error.message}")
        self._status[row] = schema.STATUS_ERROR
        self._codes[row] = str(named.code)
        self._messages[row] = named.message

    def columns(self) -> dict[str, pa.Array]:
        """The columns that decoding adds or changes. To be called once: it gives the pixels away."""
        measured: list[tuple[int, ...]] = []
        for key in self._keys:
            image = None if key is None else self._decoded[key]
            if isinstance(image, SizedImage):
                measured.append((*image.pixels.shape[:2], image.source_height, image.source_width))
            else:
                measured.append((0,) * len(_SIZES))
        absent = np.array([key is None for key in self._keys])
        sizes = np.array(measured, np.int32).reshape(-1, len(_SIZES))
        return {
            # Before the pixels, which give the images away.
            "extra_images": self._extra_column(),
            "image_key": pa.array(self._keys, pa.int64()),
            "pixels": self._pixel_column(sizes[:, :2], absent),
            **{name: pa.array(sizes[:, place], mask=absent) for place, name in enumerate(_SIZES)},
            "status": pa.array(self._status, pa.string()),
            "error_code": pa.array(self._codes, pa.string()),
            "error_message": pa.array(self._messages, pa.string()),
        }

    def _extra_column(self) -> pa.Array:
        """What rows show beside their first images."""
        cells: list[list[dict[str, object]] | None] = [None] * len(self._keys)
        for row, keys in self._further.items():
            cells[row] = [_told(key, self._decoded[key]) for key in keys]
        return pa.array(cells, pa.list_(schema.EXTRA_IMAGE))

    def _pixel_column(self, sizes: np.ndarray[Any, Any], absent: np.ndarray[Any, Any]) -> pa.Array:
        """All pixels in one buffer. Each image is let go once it is copied, so that memory holds them about once."""
        offsets = np.zeros(len(self._keys) + 1, np.int64)
        np.cumsum(sizes.prod(axis=1, dtype=np.int64) * 3, out=offsets[1:])
        values = np.empty(int(offsets[-1]), np.uint8)
        for row, key in enumerate(self._keys):
            if key is not None:
                image = self._decoded[key]
                assert isinstance(image, SizedImage)
                values[offsets[row] : offsets[row + 1]] = image.pixels.reshape(-1)
                if self._last_row[key] == row:
                    del self._decoded[key], image
        valid = pa.array(~absent).buffers()[1]
        buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(values)]
        return pa.Array.from_buffers(pa.large_binary(), len(self._keys), buffers, int(absent.sum()))


def _told(key: int, image: SizedImage | RowError) -> dict[str, object]:
    assert isinstance(image, SizedImage)
    height, width, _ = image.pixels.shape
    return {"image_key": key, "pixels": image.pixels.tobytes(), "height": height, "width": width}


def image_key(data: bytes) -> int:
    """A signed 64-bit hash (BLAKE2b) of an encoded image.

    Of the bytes and never of the URI: a URI is only a name, and rows may bring different bytes under the same one.
    """
    return int.from_bytes(hashlib.blake2b(data, digest_size=_KEY_BYTES).digest(), signed=True)

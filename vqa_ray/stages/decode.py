"""READ rows → DECODED rows: encoded bytes become raw pixels at the model's size."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.conversation.conversation import shows_nothing
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.arrow import pixel_column
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.sized import SizedImage, decode_sized
from vqa_ray.process import prepare_for_decoding
from vqa_ray.readers.together import left_out
from vqa_ray.row_text.hidden_columns import TEXT_WARNING
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.isolated_decoder import ISOLATED_TIMEOUT_S, IsolatedDecoder
from vqa_ray.stages.time_limit import EachLimit
from vqa_ray.storage.uri import redacted_uri
from vqa_ray.types import Image, ImageTransform

logger = logging.getLogger(__name__)

_KEY_BYTES = 8
_SIZES = ("height", "width", "source_height", "source_width")
_NO_PIXELS = np.empty(0, np.uint8)

Decoder = Callable[[bytes], SizedImage]


class DecodeImages:
    """Decodes, turns upright and resizes the image of each row, or all its images.

    An image that several rows of a batch bring is decoded once. Rows in error pass through; a row whose image cannot be
    decoded becomes an error row. If a process died over the same batch before, its images are decoded in a child
    process, and a row whose image kills that process becomes a `row_crashed` row.

    Args:
        transform: gives the model's image size.
        limits: of an image.
        fast_decode: decode JPEG at a fraction of its size that still covers the model's size.
        run_id: names the run in the journal of batches under way.
        lenient: leave an image out of a row that has others, which `TEXT_WARNING` tells, in place of an error.
        journal: of batches under way; a `CrashJournal` of `run_id` by default.
        row_timeout_s: an image that takes longer ends the process, and so becomes a `row_crashed` row; 0 for no limit.
    """

    def __init__(
        self,
        transform: ImageTransform,
        limits: ImageLimits | None = None,
        *,
        fast_decode: bool = False,
        run_id: str = "run",
        lenient: bool = False,
        journal: CrashJournal | None = None,
        row_timeout_s: float = 0.0,
    ) -> None:
        self._row_timeout_s = row_timeout_s
        self._transform = transform
        self._limits = limits or ImageLimits()
        self._fast = fast_decode
        self._lenient = lenient
        self._journal = journal or CrashJournal(run_id)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Decode the images of a READ table with kept columns.

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
                with EachLimit(self._row_timeout_s) as limit:
                    batch = _Batch(table, partial(self._decode, limit), lenient=self._lenient)
            else:
                logger.warning("A process died over the batch at source_key %d: decoding it in isolation", first_key)
                timeout_s = self._row_timeout_s or ISOLATED_TIMEOUT_S
                with IsolatedDecoder(self._transform, self._limits, self._fast, timeout_s) as decoder:
                    batch = _Batch(table, decoder.decode, lenient=self._lenient)
        columns = batch.columns()
        arrays = [columns[name] if name in columns else table[name] for name in result_schema.names]
        return schema.mark_failed(pa.Table.from_arrays(arrays, schema=result_schema), batch.failures)

    def _decode(self, limit: EachLimit, data: bytes) -> SizedImage:
        limit.begin()
        return decode_sized(data, self._limits, self._transform, fast=self._fast)


class _Batch:
    """The rows of one batch after decoding: per row a reference to distinct pixels, or an error.

    Attributes:
        failures: row → why its images cannot be decoded.
    """

    def __init__(self, table: pa.Table, decode: Decoder, *, lenient: bool = False) -> None:
        self._lenient = lenient
        # row → warning, and row → the URI of its first image, where images are left out.
        self._notes: dict[int, str] = {}
        self._first_uris: dict[int, str | None] = {}
        self._table = table
        self.failures: dict[int, RowError] = {}
        self._keys: list[int | None] = [None] * table.num_rows
        self._further: dict[int, list[int]] = {}
        self._decoded: dict[int, SizedImage | RowError] = {}
        self._last_row: dict[int, int] = {}
        uris: list[str | None] = table["image_uri"].to_pylist()
        images, extra = table["image"], table["extra_images"]
        texts_alone: list[bool] = shows_nothing(table).to_pylist()
        for row in schema.ok_rows(table).tolist():
            if texts_alone[row]:
                continue
            further = extra[row].as_py() or ()
            shown = [(images[row].as_py(), uris[row]), *((each["image"], each["image_uri"]) for each in further)]
            self._decode_row(row, shown, decode)

    def _decode_row(self, row: int, shown: Sequence[tuple[bytes | None, str | None]], decode: Decoder) -> None:
        keys: list[int] = []
        failed: list[RowError] = []
        for number, (data, uri) in enumerate(shown, start=1):
            found = self._decode_image(data, uri, decode)
            if isinstance(found, RowError):
                name = redacted_uri(uri) if uri else f"image {number} of {len(shown)}" if len(shown) > 1 else None
                failed.append(RowError(found.code, f"{name}: {found.message}") if name else found)
                if not self._lenient:
                    break
                continue
            if not keys:
                self._first_uris[row] = uri
            keys.append(found)
        if failed and not (self._lenient and keys):
            self.failures[row] = failed[0]
            return
        if failed:
            self._notes[row] = left_out(len(failed), len(shown), str(failed[0]))
        self._keys[row] = keys[0]
        self._last_row[keys[0]] = row
        if keys[1:]:
            self._further[row] = keys[1:]

    def _decode_image(self, data: bytes | None, uri: str | None, decode: Decoder) -> int | RowError:
        """Return the key of an image that `_decoded` now holds."""
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

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns that decoding adds. To be called once: it lets the images go."""
        sizes = np.array([self._sizes(key) for key in self._keys], np.int32).reshape(-1, len(_SIZES))
        absent = np.array([key is None for key in self._keys], bool)
        size_bytes = sizes[:, :2].prod(axis=1, dtype=np.int64) * 3
        return {
            # Before the pixels, which let the images go.
            "extra_images": self._extra_column(),
            "image_key": pa.array(self._keys, pa.int64()),
            "pixels": pixel_column(self._pixels(), size_bytes, absent),
            **{name: pa.array(sizes[:, axis], mask=absent) for axis, name in enumerate(_SIZES)},
            **(self._left_out() if self._notes else {}),
        }

    def _left_out(self) -> dict[str, pa.Array]:
        """Return the columns that tell of images that were left out."""
        uris, notes = (self._table[name].to_pylist() for name in ("image_uri", TEXT_WARNING.name))
        for row, note in self._notes.items():
            uris[row] = self._first_uris[row]
            notes[row] = "; ".join(filter(None, (notes[row], note)))
        return {"image_uri": pa.array(uris, pa.string()), TEXT_WARNING.name: pa.array(notes, TEXT_WARNING.type)}

    def _sizes(self, key: int | None) -> tuple[int, ...]:
        if key is None:
            return (0,) * len(_SIZES)
        image = self._image(key)
        return (*image.pixels.shape[:2], image.source_height, image.source_width)

    def _image(self, key: int) -> SizedImage:
        image = self._decoded[key]
        assert isinstance(image, SizedImage)
        return image

    def _extra_column(self) -> pa.Array:
        """Return the cells of `extra_images`."""
        cells: list[list[dict[str, object]] | None] = [None] * len(self._keys)
        for row, keys in self._further.items():
            cells[row] = [_extra_image(key, self._image(key).pixels) for key in keys]
        return pa.array(cells, pa.list_(schema.EXTRA_IMAGE))

    def _pixels(self) -> Iterator[Image]:
        """Yield the image of each row, and let it go after its last row, so that memory holds all pixels about once."""
        for row, key in enumerate(self._keys):
            if key is None:
                yield _NO_PIXELS
            else:
                yield self._image(key).pixels
                if self._last_row[key] == row:
                    del self._decoded[key]


def _extra_image(key: int, pixels: Image) -> dict[str, object]:
    height, width, _ = pixels.shape
    return {"image_key": key, "pixels": pixels.tobytes(), "height": height, "width": width}


def image_key(data: bytes) -> int:
    """Return a signed 64-bit hash (BLAKE2b) of an encoded image.

    It hashes the bytes, never the URI: rows may bring different bytes under the same URI.
    """
    return int.from_bytes(hashlib.blake2b(data, digest_size=_KEY_BYTES).digest(), signed=True)

"""Images embedded in the files of an input, read again for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Protocol, TypeAlias

import pyarrow as pa

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.index.reader import Index
from vqa_ray.index.source_images import SourceImages
from vqa_ray.readers import Source
from vqa_ray.readers.changes.recorded_input import reopen_input
from vqa_ray.readers.formats.hf import is_hub_name
from vqa_ray.readers.reread import reread
from vqa_ray.runs.record import RunRecord
from vqa_ray.schema import STATUS_OK

ReadImage: TypeAlias = bytes | RowError


class EmbeddedImages(Protocol):
    """The images of rows that have no `image_uri`, by position."""

    def read(self, positions: Sequence[int]) -> Iterator[tuple[int, ReadImage]]:
        """Yield (position, encoded image or why there is none) of each row, in any order."""
        ...


class ImagesOfRun:
    """Images of the rows of a run, from the input that the run recorded; opened when the first image is wanted.

    Args:
        output: the run directory.
        record: its record.
        rows: with `source_key` and `image_id`.
        fetch: reads an image by its URI, for rows of a run that kept no URIs.
        allow_hub: whether an input on a hub is read.
    """

    def __init__(
        self, output: str, record: RunRecord, rows: pa.Table, fetch: Callable[[str], bytes], *, allow_hub: bool
    ) -> None:
        self._output = output
        self._record = record
        self._rows = rows.select(["source_key", "image_id"])
        self._fetch = fetch
        self._allow_hub = allow_hub

    @cached_property
    def _source(self) -> Source | RowError:
        known = self._record.input
        if known["format"] == "hf" and is_hub_name(known.get("place", known["uri"])) and not self._allow_hub:
            return RowError(ErrorCode.IMAGE_FETCH_FAILED, "the input is on a hub, which is read with --allow-http only")
        try:
            return reopen_input(self._output, self._record)
        except RequestError as error:
            return RowError(ErrorCode.IMAGE_MISSING, error)

    def read(self, positions: Sequence[int]) -> Iterator[tuple[int, ReadImage]]:
        """See `EmbeddedImages`."""
        if isinstance(self._source, RowError):
            yield from ((position, self._source) for position in positions)
            return
        wanted: dict[int, list[tuple[int, str | None]]] = {}
        for position, row in zip(positions, self._rows.take(list(positions)).to_pylist(), strict=True):
            # The questions of an input row are rows with its key.
            wanted.setdefault(row["source_key"], []).append((position, row["image_id"]))
        for key, row in reread(self._source, wanted):
            for position, image_id in wanted[key]:
                if isinstance(row, RowError):
                    yield position, row
                elif image_id is not None and image_id != row["image_id"]:
                    yield position, RowError(ErrorCode.IMAGE_MISSING, "another image is there now")
                else:
                    yield position, row["image"] if row["image"] is not None else self._fetched(row["image_uri"])

    def _fetched(self, uri: str) -> ReadImage:
        try:
            return self._fetch(uri)
        except RowError as error:
            return error


class ImagesOfIndex:
    """Images of the rows of an index, from the inputs that the index was made from."""

    def __init__(self, index: Index) -> None:
        self._images = SourceImages(index)

    def read(self, positions: Sequence[int]) -> Iterator[tuple[int, ReadImage]]:
        """See `EmbeddedImages`."""
        rows = self._images.read(positions).select(["image", "status", "error_code", "error_message"]).to_pylist()
        for position, row in zip(positions, rows, strict=True):
            if row["status"] == STATUS_OK and row["image"] is not None:
                yield position, row["image"]
            else:
                code = row["error_code"] or ErrorCode.IMAGE_MISSING
                yield position, RowError(ErrorCode(code), row["error_message"] or "the row has no image")

"""The images of an index, read again from their URIs or from the input files that held them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.index.input_snapshot import read_input_snapshot
from vqa_ray.index.reader import Index
from vqa_ray.readers.reread import reread
from vqa_ray.storage.store_errors import store_failures, store_reason

_NEEDED = ("row_id", "image_id", "image_uri", "sha256", "source_key", *(field.name for field in schema.STATUS))


class SourceImages:
    """The images of the rows of an index, by position.

    Attributes:
        uri: of the index.
    """

    def __init__(self, index: Index) -> None:
        self.uri = index.uri
        self._index = index

    def hashes(self, positions: Sequence[int]) -> list[str | None]:
        """Return the sha256 of each image as it was embedded; None for rows in error."""
        hashes: list[str | None] = self._index.take(positions, ["sha256"])["sha256"].to_pylist()
        return hashes

    def read(self, positions: Sequence[int]) -> pa.Table:
        """READ rows of these positions, in order.

        A row with a URI keeps it and brings no bytes; the caller fetches them. A row whose image was embedded in a
        table or an archive brings the bytes, or is an error row where they cannot be read or are of another image.
        """
        rows = self._index.take(positions, _NEEDED).to_pylist()
        wanted: dict[str, list[int]] = {}
        for number, row in enumerate(rows):
            row["image"] = None
            if row["status"] == schema.STATUS_OK and row["image_uri"] is None:
                wanted.setdefault(self._index.update_of(positions[number]), []).append(number)
        for update, numbers in wanted.items():
            images = _images(self._index, update, [rows[number]["source_key"] for number in numbers])
            for number in numbers:
                _set_image(rows[number], images[rows[number]["source_key"]])
        columns = {name: [row.get(name) for row in rows] for name in schema.READ.names}
        columns["questions"] = [[] for _ in rows]
        return pa.table([pa.array(columns[part.name], part.type) for part in schema.READ], schema=schema.READ)


def _images(index: Index, update: str, keys: Sequence[int]) -> dict[int, bytes | RowError]:
    """Read the encoded image, or the reason why there is none, by source_key of an update."""
    try:
        source = read_input_snapshot(index.layout.origin(update))
    except store_failures() as error:
        reason = f"how the input was read is not recorded any more: {store_reason(error, named=True)}"
        return dict.fromkeys(keys, RowError(ErrorCode.IMAGE_FETCH_FAILED, reason))
    rows = reread(source, dict.fromkeys(keys))
    return {key: row if isinstance(row, RowError) else row["image"] for key, row in rows}


def _set_image(row: dict[str, object], found: bytes | RowError | None) -> None:
    """Put an image into a READ row, or make it an error row where the image is missing or another one."""
    if found is None:
        found = RowError(ErrorCode.IMAGE_MISSING, "the image is not where it was embedded from")
    elif isinstance(found, bytes) and hashlib.sha256(found).hexdigest() != row["sha256"]:
        found = RowError(ErrorCode.IMAGE_MISSING, "another image is where this one was embedded from")
    if isinstance(found, RowError):
        row |= schema.error_cells(found)
    else:
        row["image"] = found

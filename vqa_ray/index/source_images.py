"""The images of an index, read again from their URIs or from the input files that held them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError, RunError
from vqa_ray.index.input_snapshot import read_origin, read_rows
from vqa_ray.index.reader import Index

_NEEDED = ("row_id", "image_id", "image_uri", "sha256", "source_key", *(field.name for field in schema.STATUS))


class SourceImages:
    """The images of the rows of an index, by position.

    Args:
        index: whose images they are.

    Attributes:
        uri: of the index.
    """

    def __init__(self, index: Index) -> None:
        self.uri = index.uri
        self._index = index

    def hashes(self, positions: Sequence[int]) -> list[str | None]:
        """The sha256 of each image as it was embedded; None for rows in error."""
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
                row = rows[number]
                _set_image(row, images if isinstance(images, RowError) else images.get(row["source_key"]))
        columns = {name: [row.get(name) for row in rows] for name in schema.READ.names}
        columns["questions"] = [[] for _ in rows]
        return pa.table([pa.array(columns[part.name], part.type) for part in schema.READ], schema=schema.READ)


def _images(index: Index, update: str, keys: Sequence[int]) -> Mapping[int, bytes | None] | RowError:
    """Encoded images by source_key, or the error that kept all of them from being read."""
    try:
        table = read_rows(read_origin(index.layout.origin(update)), keys)
    except FileNotFoundError as error:
        return RowError(ErrorCode.IMAGE_MISSING, f"the image is not where it was embedded from: {error}")
    except (OSError, RunError) as error:
        return RowError(ErrorCode.IMAGE_FETCH_FAILED, f"the image cannot be read again: {error}")
    return dict(zip(table["source_key"].to_pylist(), table["image"].to_pylist(), strict=True))


def _set_image(row: dict[str, object], found: bytes | RowError | None) -> None:
    """Put an image into a READ row, or make it an error row where the image is missing or another one."""
    if found is None:
        found = RowError(ErrorCode.IMAGE_MISSING, "the image is not where it was embedded from")
    elif isinstance(found, bytes) and hashlib.sha256(found).hexdigest() != row["sha256"]:
        found = RowError(ErrorCode.IMAGE_MISSING, "another image is where this one was embedded from")
    if isinstance(found, RowError):
        row |= {"status": schema.STATUS_ERROR, "error_code": str(found.code), "error_message": found.message}
    else:
        row["image"] = found

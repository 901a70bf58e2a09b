"""The images of an index read again from where they came from: from their URIs, or from the shards they were in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError, RunError
from vqa_ray.index.input_snapshot import read_origin, read_rows

if TYPE_CHECKING:
    from vqa_ray.index.reader import Index

_NEEDED = ("row_id", "image_id", "image_uri", "sha256", "source_key", *(field.name for field in schema.STATUS))


def reread(index: Index, positions: Sequence[int]) -> pa.Table:
    """READ rows of these positions, in order.

    Rows with a URI keep it and bring no bytes: whoever wants them fetches them. Rows whose image stood in a table or an
    archive bring the bytes; where these cannot be had, or are others than were embedded, they are error rows.
    """
    rows = index.take(positions, _NEEDED).to_pylist()
    wanted: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        row["image"] = None
        if row["status"] == schema.STATUS_OK and row["image_uri"] is None:
            wanted.setdefault(index.update_of(positions[place]), []).append(place)
    for update, places in wanted.items():
        outcome = _images(index, update, [rows[place]["source_key"] for place in places])
        for place in places:
            _settle(rows[place], outcome if isinstance(outcome, RowError) else outcome.get(rows[place]["source_key"]))
    columns = {name: [row.get(name) for row in rows] for name in schema.READ.names}
    columns["questions"] = [[] for _ in rows]
    return pa.table([pa.array(columns[part.name], part.type) for part in schema.READ], schema=schema.READ)


def _images(index: Index, update: str, keys: Sequence[int]) -> Mapping[int, bytes | None] | RowError:
    """Key → encoded image, or why there are none."""
    try:
        table = read_rows(read_origin(index.layout.origin(update)), keys)
    except FileNotFoundError as error:
        return RowError(ErrorCode.IMAGE_MISSING, f"the image is not where it was embedded from: {error}")
    except (OSError, RunError) as error:
        return RowError(ErrorCode.IMAGE_FETCH_FAILED, f"the image cannot be read again: {error}")
    return dict(zip(table["source_key"].to_pylist(), table["image"].to_pylist(), strict=True))


def _settle(row: dict[str, object], found: bytes | RowError | None) -> None:
    if found is None:
        found = RowError(ErrorCode.IMAGE_MISSING, "the image is not where it was embedded from")
    elif isinstance(found, bytes) and hashlib.sha256(found).hexdigest() != row["sha256"]:
        found = RowError(ErrorCode.IMAGE_MISSING, "another image is where this one was embedded from")
    if isinstance(found, RowError):
        row |= {"status": schema.STATUS_ERROR, "error_code": str(found.code), "error_message": found.message}
    else:
        row["image"] = found

"""What the model stages share: pixels out of a table, a batch that fails, and the output table.

A model stage is four calls:

    rows = ok_rows(table)
    results = call_or_isolate(call, rows)          # call(rows) -> one result per row, in order
    failures = failures_of(results)                # row -> RowError
    return assemble(schema, table, columns, failures, attempt)

Inside `call`, `image_groups(table, rows)` gives every distinct image of these rows once, with the rows that show it.
Rows that came in as errors pass through untouched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.arrow import pixel_views
from vqa_ray.schema import DECODED, STATUS_ERROR, STATUS_OK, riding_name, written_name
from vqa_ray.types import Image, ImageOrImages

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Raised by torch when the device itself is lost: every later call would fail too, so no row is to blame.
DEVICE_LOST = "AcceleratorError"


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """One distinct image, or list of images, and the rows of the table that show it.

    Attributes:
        image: uint8 (H, W, 3), a read-only view of the table's own buffer.
        rows: row numbers, ascending, at least one.
        others: the further images of these rows, in order.
    """

    image: Image
    rows: tuple[int, ...]
    others: tuple[Image, ...] = ()

    @property
    def shown(self) -> ImageOrImages:
        """What the rows show, as a model takes it."""
        return (self.image, *self.others) if self.others else self.image


def ok_rows(table: pa.Table) -> list[int]:
    """The numbers of the rows that are still to be answered, ascending."""
    return [row for row, status in enumerate(table["status"].to_pylist()) if status == STATUS_OK]


def image_groups(table: pa.Table, rows: Sequence[int]) -> list[ImageGroup]:
    """The distinct images of `rows` of a DECODED table, in order of first appearance.

    Two rows show the same image when image_key, height and width are equal, also of their further images; a null
    image_key equals nothing.
    """
    keys, heights, widths = (table[name].to_pylist() for name in ("image_key", "height", "width"))
    further = {row: cell for row in rows if (cell := table["others"][row].as_py())}
    grouped: dict[object, list[int]] = {}
    for row in rows:
        sizes = [(each["image_key"], each["height"], each["width"]) for each in further.get(row, ())]
        identity: object = row if keys[row] is None else (keys[row], heights[row], widths[row], *sizes)
        grouped.setdefault(identity, []).append(row)
    first_rows = [members[0] for members in grouped.values()]
    views = pixel_views(table["pixels"])
    return [
        ImageGroup(
            views[row].reshape(heights[row], widths[row], 3), tuple(members), tuple(map(_image, further.get(row, ())))
        )
        for row, members in zip(first_rows, grouped.values(), strict=True)
    ]


def _image(other: Mapping[str, Any]) -> Image:
    return np.frombuffer(other["pixels"], np.uint8).reshape(other["height"], other["width"], 3)


def bisect_failures(call: Callable[[list[int]], Sequence[T]], rows: Sequence[int]) -> dict[int, T | RowError]:
    """`call(rows)`, halved around failures until the rows that cannot be answered stand alone.

    Args:
        call: takes row numbers, gives one result per row in the same order. It is called again with fewer rows after
            an exception, so it must not keep anything between calls.
        rows: row numbers; none is fine.

    Returns:
        Result by row; a RowError (`model_error`, or its own code when the model raised a RowError) where even that
        row alone failed.

    Raises:
        RuntimeError: the device is lost; the rows are not to blame.
    """
    results: dict[int, T | RowError] = {}
    waiting = [list(rows)] if rows else []
    while waiting:
        part = waiting.pop()
        try:
            answered = call(part)
        except Exception as error:  # a model may raise anything on a row it cannot take: the row tells it
            if type(error).__name__ == DEVICE_LOST:
                raise
            if len(part) > 1:
                logger.debug("a batch of %d rows failed and is halved: %r", len(part), error)
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            results[part[0]] = error if isinstance(error, RowError) else _model_error(error)
        else:
            if len(answered) != len(part):
                raise AssertionError(f"{len(part)} rows gave {len(answered)} results")
            results.update(zip(part, answered, strict=True))
    return results


def _model_error(error: Exception) -> RowError:
    return RowError(ErrorCode.MODEL_ERROR, f"{type(error).__name__}: {error}")


def failures_of(results: Mapping[int, Any]) -> dict[int, RowError]:
    """The rows of `results` that failed."""
    return {row: result for row, result in results.items() if isinstance(result, RowError)}


def kept_fields(table: pa.Table) -> list[pa.Field]:
    """The user's kept columns of a DECODED table, in order, under the names that they have in the output."""
    return [field.with_name(written_name(field.name)) for field in table.schema if field.name not in DECODED.names]


def assemble(
    schema: pa.Schema,
    table: pa.Table,
    columns: Mapping[str, Mapping[int, Any] | pa.Array | pa.ChunkedArray],
    failures: Mapping[int, RowError],
    attempt: int,
) -> pa.Table:
    """The output table: one row per row of `table`, in the same order.

    Args:
        schema: of the output, kept columns included.
        table: the DECODED table; identity, source_key and kept columns are taken from it as they are.
        columns: what the stage made, column → row number → Python value; a row that is absent is null. Or a whole
            column, an array.
        failures: rows that failed in this stage; their other made columns should be absent.
        attempt: how many times these rows have been tried, counting this one.
    """
    made: dict[str, Any] = {"warning": {}, "finish_reason": {}, **columns}
    arrays = []
    for field in schema:
        riding = riding_name(field.name)
        if riding != field.name and riding in table.schema.names:
            arrays.append(table[riding])
        elif field.name in made:
            cells = made[field.name]
            by_row = isinstance(cells, Mapping)
            arrays.append(pa.array([cells.get(row) for row in range(table.num_rows)], field.type) if by_row else cells)
        elif field.name == "attempt":
            arrays.append(pa.array([attempt] * table.num_rows, field.type))
        elif field.name == "question_index":
            arrays.append(pa.array([0] * table.num_rows, field.type))
        elif field.name in ("status", "error_code", "error_message") and failures:
            arrays.append(_with_failures(table, field, failures))
        else:
            arrays.append(table[field.name])
    return pa.table(arrays, schema=schema)


def _with_failures(table: pa.Table, field: pa.Field, failures: Mapping[int, RowError]) -> pa.Array:
    values = table[field.name].to_pylist()
    for row, error in failures.items():
        values[row] = {"status": STATUS_ERROR, "error_code": str(error.code), "error_message": error.message}[
            field.name
        ]
    return pa.array(values, field.type)

"""Functions that the model stages share: distinct images of a table, isolation of failures, the output table.

A model stage does three things:

    results, failures = bisect_failures(call, ok_rows(table).tolist())  # call(rows) -> one result per row
    columns = ...                                              # column -> row -> value, made from `results`
    return assemble(schema, table, columns, failures, attempt)

Inside `call`, `image_groups(table, rows)` gives each distinct image of these rows once, with the rows that show it.
Rows that are in error already pass through unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.images.arrow import pixel_views
from vqa_ray.schema import DECODED, mark_failed, passthrough_name, written_name
from vqa_ray.types import Image, ImageOrImages

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Names of the exceptions for a device that is lost (torch) and an engine that died (vLLM): every later call fails too,
# and the rows are to blame only if it happens to them again.
DEVICE_LOST = frozenset({"AcceleratorError", "EngineDeadError"})


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """One distinct image, or list of images, and the rows of the table that show it.

    Attributes:
        image: uint8 (H, W, 3), a read-only view of the table's own buffer.
        rows: row numbers, ascending, at least one.
        extra: the further images of these rows, in order.
    """

    image: Image
    rows: tuple[int, ...]
    extra: tuple[Image, ...] = ()

    @property
    def shown(self) -> ImageOrImages:
        """The image or images, as a model takes them."""
        return (self.image, *self.extra) if self.extra else self.image


def image_groups(table: pa.Table, rows: Sequence[int]) -> list[ImageGroup]:
    """Group rows of a DECODED table by distinct image, in order of first appearance.

    Two rows show the same image when image_key, height and width are equal, for their further images as well; a null
    image_key equals nothing.
    """
    keys, heights, widths = (table[name].to_pylist() for name in ("image_key", "height", "width"))
    further = {row: cell for row in rows if (cell := table["extra_images"][row].as_py())}
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


def bisect_failures(
    call: Callable[[list[int]], Sequence[T | RowError]], rows: Sequence[int]
) -> tuple[dict[int, T], dict[int, RowError]]:
    """Call a model on all rows, and halve a batch that fails until the rows that cannot be answered stand alone.

    Args:
        call: takes row numbers, gives one result (or error) per row in the same order. After an exception it is called
            again with fewer rows, so it must not keep state between calls.
        rows: row numbers; may be empty.

    Returns:
        Results by row, and errors by row: the RowError that `call` gave or raised for the row alone, or `model_error`
        with any other exception.

    Raises:
        RuntimeError: the device is lost; the rows are not to blame.
        RequestError: no row can be answered, such as by an endpoint that refuses the key.
    """
    results: dict[int, T] = {}
    failures: dict[int, RowError] = {}
    waiting = [list(rows)] if rows else []
    while waiting:
        part = waiting.pop()
        answered: Sequence[T | RowError]
        try:
            answered = call(part)
        except Exception as error:  # A model may raise anything on a row that it cannot take.
            if isinstance(error, RequestError) or type(error).__name__ in DEVICE_LOST:
                raise
            if len(part) > 1:
                logger.debug("a batch of %d rows failed and is halved: %r", len(part), error)
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            answered = [error if isinstance(error, RowError) else _model_error(error)]
        if len(answered) != len(part):
            raise AssertionError(f"{len(part)} rows gave {len(answered)} results")
        for row, result in zip(part, answered, strict=True):
            if isinstance(result, RowError):
                failures[row] = result
            else:
                results[row] = result
    return results, failures


def _model_error(error: Exception) -> RowError:
    return RowError(ErrorCode.MODEL_ERROR, f"{type(error).__name__}: {error}")


def kept_fields(table: pa.Table) -> list[pa.Field]:
    """Return the user's kept columns of a DECODED table, in order, under their names in the output."""
    return [field.with_name(written_name(field.name)) for field in table.schema if field.name not in DECODED.names]


def assemble(
    schema: pa.Schema,
    table: pa.Table,
    columns: Mapping[str, Mapping[int, Any] | pa.Array | pa.ChunkedArray],
    failures: Mapping[int, RowError],
    attempt: int,
) -> pa.Table:
    """Build the output table: one row per row of `table`, in the same order.

    Args:
        schema: of the output, with the user's kept columns.
        table: the DECODED table, which gives identity, source_key and kept columns unchanged.
        columns: the stage's own columns: name → row number → Python value, null for a row that is absent; or name →
            array of the whole column.
        failures: rows that failed in this stage; their cells in `columns` should be absent.
        attempt: the number of times these rows have been tried, this one included.
    """
    table = mark_failed(table, failures)
    made: dict[str, Any] = {"warning": {}, "finish_reason": {}, **columns}
    arrays = []
    for field in schema:
        inner = passthrough_name(field.name)
        if inner != field.name and inner in table.schema.names:
            arrays.append(table[inner])
        elif field.name in made:
            cells = made[field.name]
            by_row = isinstance(cells, Mapping)
            arrays.append(pa.array([cells.get(row) for row in range(table.num_rows)], field.type) if by_row else cells)
        elif field.name == "attempt":
            arrays.append(pa.array([attempt] * table.num_rows, field.type))
        elif field.name == "question_index":
            arrays.append(pa.array([0] * table.num_rows, field.type))
        else:
            arrays.append(table[field.name])
    return pa.table(arrays, schema=schema)

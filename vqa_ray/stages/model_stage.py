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
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.images.arrow import pixel_views
from vqa_ray.row_text.hidden_columns import TEXT, TEXT_WARNING
from vqa_ray.row_text.template import word
from vqa_ray.schema import DECODED, mark_failed, passthrough_name, written_name
from vqa_ray.types import Image, ImageOrImages

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Names of the exceptions for a device that is lost (torch) and an engine that died (vLLM): every later call fails too,
# and the rows are to blame only if it happens to them again.
DEVICE_LOST = frozenset({"AcceleratorError", "EngineDeadError"})


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """One distinct image, or list of images, and the rows of the table that show it beside the same texts.

    Attributes:
        image: uint8 (H, W, 3), a read-only view of the table's own buffer.
        rows: row numbers, ascending, at least one.
        extra: the further images of these rows, in order.
        texts: column → text of these rows, of the columns that questions name.
    """

    image: Image
    rows: tuple[int, ...]
    extra: tuple[Image, ...] = ()
    texts: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def shown(self) -> ImageOrImages:
        """The image or images, as a model takes them."""
        return (self.image, *self.extra) if self.extra else self.image

    def word(self, question: str) -> str:
        """Put the texts of these rows in the places of a question of the command."""
        return word(question, self.texts)


def image_groups(table: pa.Table, rows: Sequence[int]) -> list[ImageGroup]:
    """Group rows of a DECODED table by distinct image, in order of first appearance.

    Two rows show the same image when image_key, height and width are equal, for their further images as well; a null
    image_key equals nothing. Rows whose texts differ are of different groups.
    """
    keys, heights, widths = (table[name].to_pylist() for name in ("image_key", "height", "width"))
    further = {row: cell for row in rows if (cell := table["extra_images"][row].as_py())}
    texts = row_texts(table)
    grouped: dict[object, list[int]] = {}
    for row in rows:
        sizes = [(each["image_key"], each["height"], each["width"]) for each in further.get(row, ())]
        shown = (keys[row], heights[row], widths[row], *sizes)
        identity: object = row if keys[row] is None else (*shown, *texts[row].values())
        grouped.setdefault(identity, []).append(row)
    first_rows = [members[0] for members in grouped.values()]
    views = pixel_views(table["pixels"])
    return [
        ImageGroup(
            views[row].reshape(heights[row], widths[row], 3),
            tuple(members),
            tuple(map(_image, further.get(row, ()))),
            texts[row],
        )
        for row, members in zip(first_rows, grouped.values(), strict=True)
    ]


def row_texts(table: pa.Table) -> list[dict[str, str | None]]:
    """Return column → text of each row, of the columns that questions name."""
    columns = {name.removeprefix(TEXT): table[name].to_pylist() for name in table.column_names if _is_text(name)}
    return [{name: values[row] for name, values in columns.items()} for row in range(table.num_rows)]


def _is_text(name: str) -> bool:
    return name.startswith(TEXT) and name != TEXT_WARNING.name


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
    kept = [part for part in table.schema if part.name not in DECODED.names and not part.name.startswith(TEXT)]
    return [part.with_name(written_name(part.name)) for part in kept]


def with_text_warning(table: pa.Table, row: int, warning: str | None) -> str | None:
    """Put what was done to the texts of a row before a warning of the stage."""
    note = table[TEXT_WARNING.name][row].as_py() if TEXT_WARNING.name in table.column_names else None
    return "; ".join(filter(None, (note, warning))) or None


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
    if TEXT_WARNING.name in table.column_names:
        given = made["warning"]
        made["warning"] = {row: with_text_warning(table, row, given.get(row)) for row in range(table.num_rows)}
    arrays = []
    for part in schema:
        inner = passthrough_name(part.name)
        if inner != part.name and inner in table.schema.names:
            arrays.append(table[inner])
        elif part.name in made:
            cells = made[part.name]
            by_row = isinstance(cells, Mapping)
            arrays.append(pa.array([cells.get(row) for row in range(table.num_rows)], part.type) if by_row else cells)
        elif part.name == "attempt":
            arrays.append(pa.array([attempt] * table.num_rows, part.type))
        elif part.name == "question_index":
            arrays.append(pa.array([0] * table.num_rows, part.type))
        else:
            arrays.append(table[part.name])
    return pa.table(arrays, schema=schema)

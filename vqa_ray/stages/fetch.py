"""READ rows with image references → READ rows with image bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.images.fetch import Fetcher
from vqa_ray.readers.together import left_out
from vqa_ray.row_text.hidden_columns import TEXT_WARNING
from vqa_ray.storage.uri import redacted_uri


class FetchImages:
    """Fetches `image_uri` where a row brings no bytes, and its further images; every distinct URI of a batch once.

    URIs are absolute: readers have resolved them. Rows in error and rows with bytes pass through. A row with an image
    that cannot be fetched becomes an error row.

    Args:
        fetcher: limits, and permission for http:// and https://.
        lenient: leave an image out of a row that has others, which `TEXT_WARNING` tells, in place of an error.
    """

    def __init__(self, fetcher: Fetcher, *, lenient: bool = False) -> None:
        self._fetcher = fetcher
        self._lenient = lenient

    def __call__(self, table: pa.Table) -> pa.Table:
        """Fetch the images of a READ table with kept columns.

        Returns:
            The same columns and rows, in order.
        """
        uris: list[str | None] = table["image_uri"].to_pylist()
        present: list[bool] = table["image"].is_valid().to_pylist()
        rows: list[int] = schema.ok_rows(table).tolist()
        wanted = {row: uri for row in rows if (uri := uris[row]) and not present[row]}
        extra: dict[int, list[dict[str, Any]]] = {
            row: cell for row in rows if (cell := table["extra_images"][row].as_py())
        }
        further = [each["image_uri"] for cell in extra.values() for each in cell if each["image"] is None]
        if not wanted and not further:
            return table
        outcomes = self._fetcher.fetch_all([*wanted.values(), *further])
        failures: dict[int, RowError] = {}

        def take(row: int, uri: str) -> bytes | None:
            outcome = outcomes[uri]
            if isinstance(outcome, RowError):
                failures[row] = RowError(outcome.code, f"{redacted_uri(uri)}: {outcome.message}")
                return None
            return outcome

        images = [
            take(row, wanted[row]) if row in wanted else image.as_py() for row, image in enumerate(table["image"])
        ]
        for row, cell in extra.items():
            for each in cell:
                if each["image"] is None:
                    each["image"] = take(row, each["image_uri"])
        if self._lenient and failures:
            table = self._without_failed(table, images, extra, failures)
        if extra:
            table = _with_column(table, "extra_images", [extra.get(row) for row in range(table.num_rows)])
        return schema.mark_failed(_with_column(table, "image", images), failures)

    @staticmethod
    def _without_failed(
        table: pa.Table,
        images: list[bytes | None],
        extra: dict[int, list[dict[str, Any]]],
        failures: dict[int, RowError],
    ) -> pa.Table:
        """Leave the images out that were not fetched, of rows that have others; changes all but the table."""
        uris, notes = table["image_uri"].to_pylist(), table[TEXT_WARNING.name].to_pylist()
        for row in [row for row in failures if row in extra]:
            photos = [{"image_uri": uris[row], "image": images[row]}, *extra[row]]
            there = [photo for photo in photos if photo["image"] is not None]
            if there:
                note = left_out(len(photos) - len(there), len(photos), str(failures.pop(row)))
                notes[row] = "; ".join(filter(None, (notes[row], note)))
                uris[row], images[row], extra[row] = there[0]["image_uri"], there[0]["image"], there[1:]
        table = _with_column(table, "image_uri", uris)
        place = table.schema.get_field_index(TEXT_WARNING.name)
        return table.set_column(place, TEXT_WARNING, pa.array(notes, TEXT_WARNING.type))


def _with_column(table: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    field = schema.READ.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))

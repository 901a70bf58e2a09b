"""READ rows with image references → READ rows with image bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.storage.uri import redacted_uri


class FetchImages:
    """Fetches `image_uri` where a row brings no bytes, and its further images; every distinct URI of a batch once.

    URIs are absolute: readers have resolved them. Rows in error and rows with bytes pass through. A row with an image
    that cannot be fetched becomes an error row.

    Args:
        fetcher: limits, and permission for http:// and https://.
    """

    def __init__(self, fetcher: ImageFetcher) -> None:
        self._fetcher = fetcher

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
        table = _with_column(table, "image", images)
        for row, cell in extra.items():
            for each in cell:
                if each["image"] is None:
                    each["image"] = take(row, each["image_uri"])
        if extra:
            table = _with_column(table, "extra_images", [extra.get(row) for row in range(table.num_rows)])
        return schema.mark_failed(table, failures)


def _with_column(table: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    field = schema.READ.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))

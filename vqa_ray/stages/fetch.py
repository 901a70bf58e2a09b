"""READ rows with image references → READ rows with image bytes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.images.decode import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.storage.filesystem import redacted_uri


class FetchImages:
    """Fetches `image_uri` where a row brings no bytes, and its further images; every distinct URI of a batch once.

    URIs are absolute: readers have resolved them. Rows in error and rows with bytes pass through, and a row whose image
    cannot be had becomes an error row.
    """

    def __init__(
        self,
        limits: ImageLimits | None = None,
        *,
        allow_http: bool = False,
        concurrency: int = 16,
        fetcher: ImageFetcher | None = None,
    ) -> None:
        """
        Args:
            limits: larger files are not fetched.
            allow_http: whether http:// and https:// are fetched.
            concurrency: how many images of a batch are fetched at once.
            fetcher: used instead of one made from the other arguments.
        """
        self._fetcher = fetcher or ImageFetcher(
            (limits or ImageLimits()).max_image_bytes, allow_http=allow_http, concurrency=concurrency
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        """
        Args:
            table: READ columns, then kept columns.

        Returns:
            The same columns and rows, in order.
        """
        uris: list[str | None] = table["image_uri"].to_pylist()
        status: list[str] = table["status"].to_pylist()
        present: list[bool] = table["image"].is_valid().to_pylist()
        asked = [row for row, state in enumerate(status) if state == schema.STATUS_OK]
        wanted = {row: uri for row in asked if (uri := uris[row]) and not present[row]}
        others: dict[int, list[dict[str, Any]]] = {
            row: cell for row in asked if (cell := table["extra_images"][row].as_py())
        }
        further = [each["image_uri"] for cell in others.values() for each in cell if each["image"] is None]
        if not wanted and not further:
            return table
        outcomes = self._fetcher.fetch_all([*wanted.values(), *further])
        images: list[bytes | None] = []
        codes: list[str | None] = table["error_code"].to_pylist()
        messages: list[str | None] = table["error_message"].to_pylist()

        def take(row: int, uri: str) -> bytes | None:
            outcome = outcomes[uri]
            if not isinstance(outcome, RowError):
                return outcome
            named = RowError(outcome.code, f"{redacted_uri(uri)}: {outcome.message}")
            status[row], codes[row], messages[row] = schema.STATUS_ERROR, str(named.code), named.message
            return None

        for row in range(table.num_rows):
            images.append(take(row, wanted[row]) if row in wanted else table["image"][row].as_py())
            for each in others.get(row, ()):
                if each["image"] is None:
                    each["image"] = take(row, each["image_uri"])
        replaced: dict[str, list[Any]] = {
            "image": images,
            "status": status,
            "error_code": codes,
            "error_message": messages,
        }
        if others:
            replaced["extra_images"] = [others.get(row) for row in range(table.num_rows)]
        for name, values in replaced.items():
            field = schema.READ.field(name)
            table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
        return table

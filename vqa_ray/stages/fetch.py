"""READ rows with image references → READ rows with image bytes."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.fetch import ImageFetcher
from vqa_ray.images import ImageLimits
from vqa_ray.storage import shown_uri


class FetchImages:
    """Fetches `image_uri` where a row brings no bytes; every distinct URI of a batch once.

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
        wanted = {
            row: uri for row, uri in enumerate(uris) if uri and not present[row] and status[row] == schema.STATUS_OK
        }
        if not wanted:
            return table
        outcomes = self._fetcher.fetch_all(list(wanted.values()))
        images: list[bytes | None] = []
        codes: list[str | None] = table["error_code"].to_pylist()
        messages: list[str | None] = table["error_message"].to_pylist()
        for row in range(table.num_rows):
            outcome = outcomes[wanted[row]] if row in wanted else table["image"][row].as_py()
            if isinstance(outcome, RowError):
                named = RowError(outcome.code, f"{shown_uri(wanted[row])}: {outcome.message}")
                status[row], codes[row], messages[row] = schema.STATUS_ERROR, str(named.code), named.message
                images.append(None)
            else:
                images.append(outcome)
        replaced = {"image": images, "status": status, "error_code": codes, "error_message": messages}
        for name, values in replaced.items():
            field = schema.READ.field(name)
            table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
        return table

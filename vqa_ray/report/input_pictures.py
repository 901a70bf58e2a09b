"""Pictures of the rows of a run whose input may no longer be there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.readers.changes.recorded_input import reopen_input
from vqa_ray.readers.formats.hf import is_hub_name
from vqa_ray.report.row_pictures import RowPicture, row_pictures
from vqa_ray.runs.record import RunRecord


class InputPictures:
    """Reads the pictures of rows of one run, by `source_key`.

    Args:
        output: the run directory.
        record: its record.
        allow_http: whether images are fetched from the web, and inputs read from a hub.
    """

    def __init__(self, output: str, record: RunRecord, *, allow_http: bool = False) -> None:
        self._output = output
        self._record = record
        self._allow_http = allow_http
        self._fetcher = ImageFetcher(ImageLimits().max_image_bytes, allow_http=allow_http)

    def of(self, rows: Sequence[dict[str, Any]]) -> dict[int, RowPicture]:
        """Return the picture of each row with `source_key` and `image_uri`, or the reason why it has none."""
        by_uri = [row for row in rows if row.get("image_uri")]
        embedded = [row for row in rows if not row.get("image_uri")]
        found = row_pictures(by_uri, None, self._fetcher)
        known = self._record.input
        if not embedded:
            return found
        if known["format"] == "hf" and is_hub_name(known.get("place", known["uri"])) and not self._allow_http:
            reason = "the input is on a hub, which is read with --allow-http only"
        else:
            try:
                return found | row_pictures(embedded, reopen_input(self._output, self._record), self._fetcher)
            except RequestError as error:
                reason = str(error)
        return found | {row["source_key"]: RowPicture(reason=reason) for row in embedded}
